"""What ``--explain`` says, in English and in Japanese."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from .explain_reason_texts import REASON_TEXTS

ENGLISH, JAPANESE = 0, 1
NO_VALUES: Mapping[str, object] = MappingProxyType({})


class Said(NamedTuple):
    """A sentence: the name of its text, and the values in it."""

    name: str
    values: Mapping[str, object] = NO_VALUES
    """A value that is a ``Said`` itself is a part of the sentence."""

    def text(self, language: int) -> str:
        "The sentence in ``language``."
        shown = {
            key: value.text(language) if isinstance(value, Said) else printable(str(value))
            for key, value in self.values.items()
        }
        return TEXTS[self.name][language].format_map(shown)


def printable(text: str) -> str:
    """``text`` without characters that would control a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def language_of(environment: Mapping[str, str]) -> int:
    """The language that the terminal is set to: Japanese for ``ja…``, otherwise English (locale(7))."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name, ""):
            return JAPANESE if value.startswith("ja") else ENGLISH
    return ENGLISH


TEXTS: dict[str, tuple[str, str]] = {
    # -- no message --
    "empty": (
        "There is no text. Paste the INVITE, from its line 'INVITE sip:...' to the end of the lines 'a=...'.",
        "テキストがありません。'INVITE sip:...' の行から 'a=...' の最後の行まで、INVITE を貼り付けてください。",
    ),
    "capture": (
        "This is a capture file, and a text is expected. Open the file in Wireshark, choose the INVITE, then Follow > "
        "UDP Stream, and save that as text. Or: tshark -r FILE -Y 'sip.Method == \"INVITE\"' -V",
        "これは記録のファイル（pcap）です。テキストを渡してください。Wireshark で開いて INVITE を選び、「追跡」>「UDP "
        "ストリーム」の内容をテキストとして保存するか、tshark -r FILE -Y 'sip.Method == \"INVITE\"' -V を使ってくださ"
        "い。",
    ),
    "too long": (
        "The text is longer than {most} octets. Paste one message: the INVITE, which has some 1,000.",
        "テキストが {most} オクテットを超えています。メッセージを 1 つ（INVITE、ふつう 1,000 オクテットほど）だけ貼り"
        "付けてください。",
    ),
    "binary": (
        "This is no text. Paste the INVITE as a log or a capture program shows it.",
        "これはテキストではありません。ログや、パケットを記録するプログラムに表示される INVITE を貼り付けてください。",
    ),
    "no message": (
        "There is no SIP message in this text, which begins with {begins}. Expected a line such as 'INVITE "
        "sip:123@192.0.2.1 SIP/2.0', or a session description from 'v=0' on.",
        "このテキスト（先頭は {begins}）には SIP メッセージがありません。'INVITE sip:123@192.0.2.1 SIP/2.0' のような行"
        "か、'v=0' で始まる音声の条件（SDP）が必要です。",
    ),
    "response": (
        "This is an answer ({what}), and the request is expected: paste the INVITE to which this answer came.",
        "これは応答（{what}）です。この応答を受けた要求、つまり INVITE を貼り付けてください。",
    ),
    "no via": (
        "The server would not answer '{what}' at all: the message has no Via, so it does not say where the answer "
        "goes. If a Via is missing only in what you pasted, paste the whole message.",
        "サーバーは '{what}' にまったく応答しません。Via がないので、応答の送り先が分からないからです。貼り付けたとき"
        "に Via が抜けただけなら、メッセージ全体を貼り付けてください。",
    ),
    # -- the result --
    "plays": (
        "The server answers 200 OK, and music plays.",
        "サーバーは 200 OK と応答し、音楽が流れます。",
    ),
    "hold": (
        "The server answers 200 OK, and no music plays: {why}.",
        "サーバーは 200 OK と応答しますが、音楽は流れません。{why}からです。",
    ),
    "why inactive": (
        "the phone asks for silence with a=inactive, as it does when both sides hold",
        "電話機が a=inactive で無音を求めている（双方が保留のときなど）",
    ),
    "why sendonly": (
        "the phone says a=sendonly, which means that it wants to hear nothing. Expected is a=recvonly or a=sendrecv",
        "電話機が a=sendonly（何も聞かない）と言っている（音楽を聞くには a=recvonly か a=sendrecv が必要）",
    ),
    "why unspecified": (
        "the phone names the address {host} for the music, which is the old form of hold",
        "電話機が音楽の送り先に {host} を指定している（保留の古い書き方）",
    ),
    "switched off": (
        "The server answers 200 OK, and the music stops: the message switches its audio off with port 0.",
        "サーバーは 200 OK と応答し、音楽は止まります。メッセージがポート 0 で音声を切っているからです。",
    ),
    "late offer": (
        "The server answers 200 OK with an offer of its own, since the INVITE has no session description: {ours}. "
        "Music plays when the ACK has brought the answer of the phone.",
        "INVITE に音声の条件（SDP）がないので、サーバーは自分の使えるコーデック（{ours}）を提示して 200 OK と応答しま"
        "す。電話機の返事が ACK で届くと、音楽が流れます。",
    ),
    "refused": (
        "The server refuses the call: {status} {reason}",
        "サーバーは通話を拒否します：{status} {reason}",
    ),
    "accepted": (
        "This is no INVITE but {method}, so no call begins with it. The server answers {status}.",
        "これは INVITE ではなく {method} なので、通話は始まりません。サーバーは {status} と応答します。",
    ),
    "refused account": (
        "This is no INVITE but {method}, and the server answers {status}. A phone calls this server with INVITE; it "
        "does not register here, and subscribes to nothing. Enter the server as Music On Hold URI, not as a SIP "
        "account.",
        "これは INVITE ではなく {method} で、サーバーは {status} と応答します。電話機はこのサーバーに INVITE で電話を"
        "かけるだけで、登録（REGISTER）や購読はしません。SIP アカウントではなく、保留音（Music On Hold）の URI として"
        "設定してください。",
    ),
    "refused other": (
        "This is no INVITE but {method}, so no call begins with it. The server answers {status}. Paste the INVITE.",
        "これは INVITE ではなく {method} なので、通話は始まりません。サーバーは {status} と応答します。INVITE を貼り付"
        "けてください。",
    ),
    "ACK": (
        "This is an ACK, to which no answer is sent. Paste the INVITE that the call began with.",
        "これは ACK で、応答は送られません。通話の始まりの INVITE を貼り付けてください。",
    ),
    "not in MOH_ALLOW": (
        "The server does not answer at all: the phone's address {source} is in none of the networks of MOH_ALLOW "
        "({allow}). Add it there, and start the server again.",
        "サーバーはまったく応答しません。電話機のアドレス {source} が MOH_ALLOW のネットワーク（{allow}）に入っていな"
        "いからです。MOH_ALLOW に加えて、サーバーを再起動してください。",
    ),
    "scanner": (
        "The server does not answer at all: the User-Agent {agent} is that of a program that searches for victims.",
        "サーバーはまったく応答しません。User-Agent の {agent} は、攻撃先を探すプログラムのものだからです。",
    ),
    "no answer": (
        "The server sends no answer to this message.",
        "サーバーはこのメッセージに応答を送りません。",
    ),
    # -- where it came from --
    "from": (
        "From: {source} ({how}), by {transport}, to {to}.",
        "送信元：{source}（{how}）。{transport} で {to} に届いたものとして扱います。",
    ),
    "how given": ("given with --from", "--from で指定"),
    "how log": ("as the line before it says", "直前の行による"),
    "how received": ("by 'received' in its Via", "Via の received による"),
    "how via": (
        "by its Via; if it came through a NAT or a PBX, name the real address with --from",
        "Via による。NAT や PBX を通ったなら、実際のアドレスを --from で指定してください",
    ),
    "how contact": (
        "by its Contact; --from names another address",
        "Contact による。別のアドレスなら --from で指定してください",
    ),
    "how session": (
        "by its session description; --from names another address",
        "音声の条件（SDP）による。別のアドレスなら --from で指定してください",
    ),
    "how assumed": (
        "a made-up address, since the message names none; --from names the real one",
        "メッセージにアドレスがないので仮のもの。実際のアドレスを --from で指定してください",
    ),
    # -- music, codec and destination --
    "music by name": (
        "Music: the phone dials {dialled}. If the folder {folder} has music of that name and it is ready, that plays, "
        "otherwise the default.",
        "音楽：電話機がかけている名前は {dialled} です。フォルダー {folder} にその名前の音楽があって準備ができて"
        "いれば、それが流れます。なければ、既定の音楽が流れます。",
    ),
    "music without a name": (
        "Music: the phone dials no name before the @, so the default of the folder {folder} plays.",
        "音楽：電話機がかけているアドレスの @ の前に名前がないので、フォルダー {folder} の既定の音楽が流れます。",
    ),
    "codec": (
        "Codec: the phone offers {offered}. This server plays {ours}. It takes the first of the phone's list that it "
        "plays: {codec}, {ptime} ms of music in each packet.",
        "コーデック：電話機が提示するのは {offered} です。このサーバーが使えるのは {ours} です。電話機の一覧のうち、"
        "このサーバーが使える最初のもの、{codec} を使います（1 パケットに {ptime} ms）。",
    ),
    "where": (
        "Where: the music goes to {to}, because the message says '{line}' and '{media}'. It leaves from a port of "
        "MOH_RTP_PORTS, such as {port}; open the way for UDP from there to {to}.",
        "送り先：音楽は {to} に送られます。メッセージに '{line}' と '{media}' とあるからです。送り出すのは"
        " MOH_RTP_PORTS のポート（{port} など）です。そこから {to} への UDP を通してください。",
    ),
    "third party": (
        "{host} is not the address that the call comes from ({source}). That is right where a phone has the held "
        "party get the music directly.",
        "{host} は電話をかけてきたアドレス（{source}）とは違います。電話機が保留中の相手に音楽を直接受け取らせる場合は"
        "、これで正しい動作です。",
    ),
    "after ACK": (
        "The music begins when the ACK of the phone has come, since one of these two addresses is public or belongs to "
        "this machine.",
        "どちらかのアドレスがグローバルか、このコンピューターのものなので、音楽は電話機の ACK が届いてから始まります。",
    ),
    "encrypted": (
        "The music is encrypted: SRTP with {suite}.",
        "音楽は暗号化されます（SRTP、{suite}）。",
    ),
    "own address": (
        "The answer names {host} as the address of this server, and {source} cannot reach that: no ACK, no music. Set "
        "MOH_ADVERTISED_ADDRESS to an address of this machine that the phone can reach.",
        "応答はこのサーバーのアドレスとして {host} を伝えますが、{source} からは届きません。ACK が来ず、音楽も流れませ"
        "ん。電話機から届くこのコンピューターのアドレスを MOH_ADVERTISED_ADDRESS に設定してください。",
    ),
    # -- what is odd --
    "several": (
        "Note: the text has {count} messages; this is about the first INVITE that came in.",
        "注意：テキストには {count} 個のメッセージがあります。これは最初に届いた INVITE の説明です。",
    ),
    "length": (
        "Note: Content-Length is {was}, and the body that was pasted has {octets} octets; the difference is taken to "
        "come from the pasting.",
        "注意：Content-Length は {was} ですが、貼り付けられた本体は {octets} オクテットです。差は貼り付けによるものと"
        "みなしました。",
    ),
    "bare": (
        "Note: this is a session description alone; the INVITE around it is made up.",
        "注意：これは音声の条件（SDP）だけなので、INVITE の残りの部分は仮のものです。",
    ),
    "within a call": (
        "Note: the To has a tag, so the message belongs to a call that has begun before; such a call is assumed.",
        "注意：To に tag があるので、すでに始まっている通話のメッセージです。そのような通話があるものとして扱います。",
    ),
    "old branch": (
        "Odd: the branch in Via does not begin with z9hG4bK, as RFC 3261 asks; the server takes it.",
        "変わった点：Via の branch が z9hG4bK で始まっていません（RFC 3261 に反する）が、サーバーは受け付けます。",
    ),
    "no rport": (
        "Odd: the phone names itself {via} and comes from {source}, so a NAT is between; but its Via has no rport. If "
        "no answer arrives, switch rport (symmetric response routing, NAT traversal) on in the phone.",
        "変わった点：電話機は自分を {via} と名乗り、{source} から来ているので、間に NAT がありますが、Via に rport が"
        "ありません。応答が届かないなら、電話機で rport（NAT 越え）を有効にしてください。",
    ),
    "no contact": (
        "Odd: there is no Contact, which RFC 3261 requires; the server sends its BYE to the address in From.",
        "変わった点：Contact がありません（RFC 3261 では必須）。サーバーは BYE を From のアドレスに送ります。",
    ),
    "no max-forwards": (
        "Odd: there is no Max-Forwards, which RFC 3261 requires; the server does not need it.",
        "変わった点：Max-Forwards がありません（RFC 3261 では必須）が、サーバーには不要です。",
    ),
    "no content-type": (
        "Odd: there is no Content-Type; the body begins with v=0, so it is taken for a session description.",
        "変わった点：Content-Type がありませんが、本体が v=0 で始まるので音声の条件（SDP）とみなします。",
    ),
    "100rel": (
        "Odd: the phone requires 100rel, so the server sends no 180 and answers 200 at once.",
        "変わった点：電話機が 100rel を要求しているので、サーバーは 180 を送らず、すぐに 200 と応答します。",
    ),
    "other media": (
        "Odd: the message also offers {kinds}; the server has sound only, and refuses that with port 0.",
        "変わった点：{kinds} も提示されていますが、サーバーは音声だけなので、ポート 0 で拒否します。",
    ),
    "several audio": (
        "Odd: there is more than one m=audio line; music goes to one of them, the first that can be played to.",
        "変わった点：m=audio の行が複数あります。音楽は、送ることのできる最初の 1 つだけに送られます。",
    ),
    "ice": (
        "Odd: the phone offers ICE (a=candidate, a=ice-...). The server has no ICE; it sends to the address in c= "
        "alone. If that is not reached, switch ICE off in the phone, and NAT traversal by STUN on.",
        "変わった点：電話機は ICE（a=candidate、a=ice-...）を提示しています。サーバーは ICE を使わず、c= のアドレスだ"
        "けに送ります。届かないなら、電話機の ICE を無効にし、STUN による NAT 越えを有効にしてください。",
    ),
    "rtcp-mux": (
        "Odd: the phone offers rtcp-mux; the server sends its RTCP to {rtcp}.",
        "変わった点：電話機は rtcp-mux を提示していますが、サーバーは RTCP を {rtcp} に送ります。",
    ),
    "crypto without SRTP": (
        "Odd: there is an a=crypto line, but the m= line says RTP/AVP, so the music is not encrypted. For SRTP the "
        "phone has to offer RTP/SAVP (SRTP: mandatory).",
        "変わった点：a=crypto の行がありますが、m= の行は RTP/AVP なので、音楽は暗号化されません。SRTP にするには、電"
        "話機が RTP/SAVP を提示する必要があります（SRTP を「必須」に）。",
    ),
    "key in the clear": (
        "Odd: the key of SRTP comes by {transport}, which is not encrypted; whoever reads the message can listen. Use "
        "TLS.",
        "変わった点：SRTP の鍵が暗号化されていない {transport} で届いています。メッセージを読める人は音楽を聞けます。"
        "TLS を使ってください。",
    ),
    "ptime": (
        "Odd: the phone asks for {asked} ms in each packet and gets {used} ms; each phone plays that.",
        "変わった点：電話機は 1 パケット {asked} ms を求めていますが、{used} ms になります。どの電話機でも再生できます"
        "。",
    ),
    "rtcp elsewhere": (
        "Odd: the a=rtcp line is not followed; RTCP goes to {rtcp}.",
        "変わった点：a=rtcp の行には従わず、RTCP は {rtcp} に送られます。",
    ),
    "private from outside": (
        "Odd: the music goes to {host}, a private address, but the call comes from {source}, which is not private. It "
        "arrives only if {host} is in a network of this server. If not, set the public address (NAT, STUN) in the "
        "phone or PBX.",
        "変わった点：音楽はプライベートアドレスの {host} に送られますが、通話はプライベートではない {source} から来て"
        "います。{host} がこのサーバーのネットワークにある場合にだけ届きます。そうでなければ、電話機か PBX にグローバ"
        "ルアドレス（NAT、STUN）を設定してください。",
    ),
    "loopback": (
        "Odd: {host} is the loopback address, so only a program on this machine hears the music.",
        "変わった点：{host} はループバックアドレスなので、このコンピューターのプログラムにしか音楽は届きません。",
    ),
    "warning": (
        "The log would warn: {text}",
        "ログには次の警告が出ます：{text}",
    ),
    **REASON_TEXTS,
}
