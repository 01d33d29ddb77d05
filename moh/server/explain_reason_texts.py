"""Why a message is refused and what to change, in English and Japanese. The names are those of ``explain_reasons``."""

from __future__ import annotations

BY_PHONE = "Report that to the maker of the phone or PBX, unless the pasting has changed it."
BY_PHONE_JA = "貼り付けのときに変わったのでなければ、電話機や PBX のメーカーに知らせてください。"

REASON_TEXTS: dict[str, tuple[str, str]] = {
    "reason no codec": (
        "Codec: the phone offers {offered}, and this server plays none of that. It plays {ours}. Switch one of these "
        "on in the phone (Account > Codec or Audio > Preferred Vocoder); every phone has PCMU.",
        "コーデック：電話機が提示するのは {offered} だけで、このサーバーはどれも使えません。使えるのは {ours} です。電"
        "話機の設定（アカウント > コーデック、または 音声 > 優先コーデック）でどれかを有効にしてください。PCMU はどの"
        "電話機にもあります。",
    ),
    "reason no audio": (
        "The message offers no sound: it has no m=audio line with a port other than 0. Expected is one, as 'm=audio "
        "4000 RTP/AVP 0 8'. In the phone, switch audio on for this call; a fax or video call gets no music.",
        "メッセージは音声を提示していません。ポートが 0 以外の m=audio の行（'m=audio 4000 RTP/AVP 0 8' など）が必要で"
        "す。電話機でこの通話の音声を有効にしてください。FAX やビデオだけの通話に音楽は流れません。",
    ),
    "reason webrtc": (
        "The message offers {protocol}, which is WebRTC (SRTP with keys by DTLS), and this server has RTP and SRTP "
        "with keys in the message (SDES). Switch the media encryption off, or to SRTP (SDES), in the phone or PBX.",
        "メッセージが提示するのは {protocol}、つまり WebRTC（DTLS で鍵を交換する SRTP）です。このサーバーが使えるのは"
        " RTP と、メッセージに鍵を書く SRTP（SDES）です。電話機か PBX でメディアの暗号化を無効にするか、SRTP（SDES）に"
        "してください。",
    ),
    "reason protocol": (
        "The m=audio line says {protocol}; expected RTP/AVP, or RTP/SAVP for SRTP. Change the media encryption (SRTP) "
        "in the phone to off, or to SRTP with SDES.",
        "m=audio の行は {protocol} ですが、RTP/AVP か、SRTP なら RTP/SAVP が必要です。電話機のメディア暗号化（SRTP）を"
        "無効にするか、SDES の SRTP にしてください。",
    ),
    "reason no key": (
        "The m=audio line asks for SRTP, but no a=crypto line has a key that this server can use ({suites}). In the "
        "phone, choose SRTP with SDES and AES_CM_128, or switch SRTP off.",
        "m=audio の行は SRTP を求めていますが、このサーバーが使える鍵（{suites}）の a=crypto の行がありません。電話機"
        "で SDES と AES_CM_128 の SRTP を選ぶか、SRTP を無効にしてください。",
    ),
    "reason no port for SRTP": (
        "SRTP needs an ffmpeg of its own for each call, and the settings leave none (MOH_FFMPEG_CALLS, "
        "MOH_RTP_PORTS). Raise MOH_FFMPEG_CALLS, or make SRTP optional in the phone.",
        "SRTP には通話ごとに専用の ffmpeg が必要ですが、設定（MOH_FFMPEG_CALLS、MOH_RTP_PORTS）では使えるものがありま"
        "せん。MOH_FFMPEG_CALLS を増やすか、電話機で SRTP を任意（optional）にしてください。",
    ),
    "reason unknown name": (
        "The music should go to the host {host}, and this server finds no address for that name, or one to which this "
        "caller may not send music. Have the phone write an IP address into c=, or enter the name into the DNS.",
        "音楽の送り先はホスト {host} ですが、このサーバーからはその名前のアドレスが見つからないか、この発信元が音楽を"
        "送れないアドレスです。電話機が c= に IP アドレスを書くようにするか、名前を DNS に登録してください。",
    ),
    "reason no host": (
        "The c= line names {host}, which is no address of one host. Expected is the IP address of the held phone. In "
        "the phone, check its NAT settings and its own IP address.",
        "c= の行の {host} は、1 台の機器のアドレスではありません。保留中の電話の IP アドレスが必要です。電話機の NAT "
        "の設定と自分の IP アドレスを確認してください。",
    ),
    "reason low port": (
        "The m=audio line names port {port}; expected one from 1024 to 65535. In the phone, set its RTP port range, "
        "for example from 5004 or 10000 on.",
        "m=audio の行のポートは {port} ですが、1024 から 65535 が必要です。電話機の RTP ポートの範囲を、たとえば 5004 "
        "や 10000 から始まるようにしてください。",
    ),
    "reason inwards": (
        "Where: the music should go to {host}, which is inside of a network, but the caller's address is public. If "
        "that is right (a PBX of yours, a VPN), name the caller in MOH_ALLOW, or {host} in MOH_ALLOW_MEDIA. If not, "
        "the phone is behind a NAT and does not know its public address: switch NAT traversal (STUN) on in the phone.",
        "送り先：{host} は内部ネットワークのアドレスですが、発信元のアドレスはグローバルです。これで正しい（お使いの"
        " PBX や VPN である）なら、発信元を MOH_ALLOW に、または {host} を MOH_ALLOW_MEDIA に加えてください。そうでな"
        "ければ、電話機は NAT の内側にあり、自分のグローバルアドレスを知りません。電話機の NAT 越え（STUN）を有効にし"
        "てください。",
    ),
    "reason not in MOH_ALLOW_MEDIA": (
        "Where: the music should go to {host}, which is in none of the networks of MOH_ALLOW_MEDIA. Add it there.",
        "送り先：{host} は MOH_ALLOW_MEDIA のネットワークに入っていません。加えてください。",
    ),
    "reason our loopback": (
        "Where: the music should go to {host}, the loopback address: for the server that is the server itself. The "
        "phone does not know its own address: check its network and NAT settings.",
        "送り先：{host} はループバックアドレスで、サーバーにとっては自分自身です。電話機が自分のアドレスを知らないので"
        "、ネットワークと NAT の設定を確認してください。",
    ),
    "reason broadcast": (
        "Where: the music should go to {host}, which is the broadcast address of a network and no phone. Check the IP "
        "address and the subnet mask in the phone.",
        "送り先：{host} はネットワークのブロードキャストアドレスで、電話機ではありません。電話機の IP アドレスとサブネ"
        "ットマスクを確認してください。",
    ),
    "reason our port": (
        "Where: the music should go to {host}, a port of this server itself. Does the phone or PBX run on the same "
        "machine? Then give it other RTP ports than MOH_RTP_PORTS.",
        "送り先：{host} はこのサーバー自身のポートです。電話機や PBX が同じコンピューターで動いているなら、"
        "MOH_RTP_PORTS とは別の RTP ポートを使わせてください。",
    ),
    "reason no way": (
        "Where: no way leads from this machine to {host}, because it has no address of that IP version. Set the phone "
        "to the IP version that this server has.",
        "送り先：このコンピューターには {host} の IP バージョンのアドレスがなく、送る経路がありません。電話機を、この"
        "サーバーと同じ IP バージョンにしてください。",
    ),
    "reason media line": (
        "The line 'm={line}' cannot be read; expected 'm=audio <port> RTP/AVP <formats>', as 'm=audio 4000 RTP/AVP 0 "
        "8'. " + BY_PHONE,
        "'m={line}' の行を読めません。'm=audio 4000 RTP/AVP 0 8' のような行が必要です。" + BY_PHONE_JA,
    ),
    "reason connection line": (
        "The line '{line}' cannot be read, so the message does not say where the music goes; expected 'c=IN IP4 "
        "<address>'. " + BY_PHONE,
        "'{line}' の行を読めないので、音楽の送り先が分かりません。'c=IN IP4 <アドレス>' が必要です。" + BY_PHONE_JA,
    ),
    "reason no description": (
        "The body is no session description: that begins with the line 'v=0'. " + BY_PHONE,
        "本体が音声の条件（SDP）ではありません（'v=0' の行で始まる必要があります）。" + BY_PHONE_JA,
    ),
    "reason long description": (
        "The session description is too long. No phone writes such a one; was more pasted than one message?",
        "音声の条件（SDP）が長すぎます。このような電話機はありません。メッセージを 2 つ以上貼り付けていませんか。",
    ),
    "reason no field": (
        "The header field {field} is missing, and no SIP request is without it. " + BY_PHONE,
        "ヘッダーフィールド {field} がありません。SIP の要求には必須です。" + BY_PHONE_JA,
    ),
    "reason two fields": (
        "The header field {field} is there twice, and only one may be. " + BY_PHONE,
        "ヘッダーフィールド {field} が 2 つあります。1 つだけでなければなりません。" + BY_PHONE_JA,
    ),
    "reason cut off": (
        "The message is cut off: Content-Length says {length} octets, and {came} came. Was it pasted whole? If so, "
        "the network lost its end (a datagram above 1,500 octets): offer fewer codecs in the phone, or use TCP.",
        "メッセージが途中で切れています。Content-Length は {length} オクテットですが、届いたのは {came} です。全部を貼"
        "り付けましたか。そうなら、ネットワークで末尾が失われています（1,500 オクテットを超えるデータグラム）。電話機"
        "のコーデックを減らすか、TCP を使ってください。",
    ),
    "reason length": (
        "Content-Length is {length}; expected one number. " + BY_PHONE,
        "Content-Length が {length} です。1 つの数でなければなりません。" + BY_PHONE_JA,
    ),
    "reason too long": (
        "The message, or a header field of it, is longer than the server takes; calls of phones need a tenth of that. "
        + BY_PHONE,
        "メッセージまたはヘッダーフィールドが、サーバーの受け付ける長さを超えています。ふつうの電話機はその十分の一で"
        "す。" + BY_PHONE_JA,
    ),
    "reason version": (
        "The message is of version {version}, and SIP/2.0 is the only one that there is. " + BY_PHONE,
        "メッセージのバージョンは {version} ですが、存在するのは SIP/2.0 だけです。" + BY_PHONE_JA,
    ),
    "reason CSeq": (
        "The header field CSeq does not fit the message: expected a number and the method, as '1 INVITE'. " + BY_PHONE,
        "ヘッダーフィールド CSeq が合っていません。'1 INVITE' のように番号とメソッドが必要です。" + BY_PHONE_JA,
    ),
    "reason late": (
        "The number in CSeq is lower than that of an earlier message of the call, so the server takes it for a late "
        "one.",
        "CSeq の番号が、この通話の前のメッセージより小さいので、遅れて届いたものとみなされます。",
    ),
    "reason malformed": (
        "A header field or the first line cannot be read; the answer above names it. " + BY_PHONE,
        "ヘッダーフィールドか先頭の行を読めません（上の応答に書かれています）。" + BY_PHONE_JA,
    ),
    "reason no sip URI": (
        "The message is for {uri}; expected a URI that begins with sip: (sips: by TLS only). Enter the Music On Hold "
        "URI as sip:123@SERVER in the phone.",
        "メッセージの送り先は {uri} ですが、sip: で始まる URI（sips: は TLS だけ）が必要です。電話機の保留音 URI を"
        " sip:123@サーバー と設定してください。",
    ),
    "reason extension": (
        "The phone requires {extension} (Require), which this server does not have; it has {understood}. Switch that "
        "off in the phone or PBX, or make it optional.",
        "電話機が {extension} を要求（Require）していますが、このサーバーにはありません（あるのは {understood}）。電話"
        "機か PBX で無効にするか、任意にしてください。",
    ),
    "reason encoding": (
        "The session description is packed ({encoding}); expected plain text. Switch the compression off in the phone.",
        "音声の条件（SDP）が圧縮されています（{encoding}）。ふつうのテキストが必要です。電話機で圧縮を無効にしてくださ"
        "い。",
    ),
    "reason type": (
        "The body is of the type {type}; expected a session description (application/sdp). Which feature of the phone "
        "or PBX adds that? Switch it off for this server.",
        "本体の種類は {type} ですが、音声の条件（SDP、application/sdp）が必要です。それを付けている電話機や PBX の機能"
        "を、このサーバーに対しては無効にしてください。",
    ),
    "reason accept": (
        "The phone accepts only {accept} in the answer, and the answer to an INVITE is application/sdp. " + BY_PHONE,
        "電話機は応答に {accept} しか受け付けませんが、INVITE への応答は application/sdp です。" + BY_PHONE_JA,
    ),
    "reason method": (
        "{method} is not for a music server.",
        "{method} は保留音サーバーのためのものではありません。",
    ),
    "reason session timer": (
        "The phone wants to refresh the session every {interval} s (Session-Expires); at least {least} s are allowed. "
        "Most phones try again by themselves; otherwise raise the session timer in the phone.",
        "電話機のセッションタイマー（Session-Expires）は {interval} 秒ですが、最小は {least} 秒です。多くの電話機は自"
        "動でやり直します。そうでなければ、電話機のセッションタイマーを長くしてください。",
    ),
    "reason no such call": (
        "The message belongs to a call (its To has a tag), and such a call is not there.",
        "メッセージは通話の中のもの（To に tag がある）ですが、その通話がありません。",
    ),
    "reason too much": (
        "A limit for callers with public addresses; name the caller in MOH_ALLOW if it is yours.",
        "グローバルアドレスの発信元に対する制限です。自分の機器なら MOH_ALLOW に加えてください。",
    ),
    "reason general": (
        "The answer above says why.",
        "理由は上の応答に書かれています。",
    ),
}
