"""The words of the findings about the running server: its state, its calls and refusals, the test call."""

from __future__ import annotations

from .words import Text, Words

CALL_TEXTS: dict[str, Text] = {
    # -- the running server ----------------------------------------------------------------------------------------
    "server-runs": Text(
        "ok",
        Words("The server {version} has run for {since} (process {pid})."),
        Words("サーバー {version} は動いています（起動から {since}、プロセス {pid}）。"),
    ),
    "server-stopped": Text(
        "warning",
        Words(
            "The server does not run.",
            "Callers hear nothing.",
            "Start it: docker compose up -d --wait, or ./start.sh.",
        ),
        Words(
            "サーバーは動いていません。",
            "保留中の相手には何も聞こえません。",
            "docker compose up -d --wait か ./start.sh で起動してください。",
        ),
    ),
    "server-not-ready": Text(
        "warning",
        Words(
            "The server runs, but takes no calls now: it is starting or stopping.",
            "New calls get 503.",
            "Wait for some seconds, then check again. The log says more.",
        ),
        Words(
            "サーバーは動いていますが、起動中か停止中のため、今は電話を受けません。",
            "新しい電話には 503 が返ります。",
            "数秒待ってから、もう一度診断してください。詳しいことはログに出ています。",
        ),
    ),
    "server-unread": Text(
        "warning",
        Words(
            "A SIP server answers at {address}, but its state cannot be read: {reason}.",
            "So this check knows nothing of its calls and refusals.",
            "Run the check where the server runs, as its user or as root: sudo ./start.sh --check, or docker compose "
            "exec "
            "moh ./start.sh --check.",
        ),
        Words(
            "{address} で SIP サーバーが応答していますが、状態を読み取れません（{reason}）。",
            "そのため、通話や拒否した電話のことは分かりません。",
            "サーバーと同じ場所で、同じユーザーか root として実行してください：sudo ./start.sh --check、または "
            "docker compose exec moh ./start.sh --check",
        ),
    ),
    "server-silent": Text(
        "error",
        Words(
            "The server runs (process {pid}), but does not answer at {address}.",
            "Callers hear nothing.",
            "See its log, then start it again: docker compose restart, or ./start.sh. Please report it with the log.",
        ),
        Words(
            "サーバーは動いていますが（プロセス {pid}）、{address} で応答しません。",
            "保留中の相手には何も聞こえません。",
            "ログを見てから、docker compose restart か ./start.sh で再起動してください。"
            "ログを添えて報告していただけると助かります。",
        ),
    ),
    "no-music-flows": Text(
        "error",
        Words(
            "The server answers calls, but no music leaves it: {reason}.",
            "Callers hear nothing.",
            "Do what the reason says. If it names none, start the server again, and report it with its log.",
        ),
        Words(
            "サーバーは電話に出ますが、音楽が送られていません（{reason}）。",
            "保留中の相手には何も聞こえません。",
            "理由に応じて対処してください。理由が分からないときは、サーバーを再起動し、ログを添えて報告してください。",
        ),
    ),
    "settings-wrong": Text(
        "error",
        Words(
            "The settings are wrong: {reason}.",
            "The server cannot start.",
            "Correct that line in the file .env, or that variable of the shell.",
        ),
        Words(
            "設定に誤りがあります（{reason}）。",
            "サーバーは起動できません。",
            ".env のその行か、シェルの変数を直してください。",
        ),
    ),
    "settings-differ": Text(
        "warning",
        Words(
            "The running server has {names}; this check has other values.",
            "It runs with the settings of its start, so parts of this report may not be true of it.",
            "Start the server again so that it takes the new values, or run the check with the same ones.",
        ),
        Words(
            "動いているサーバーの設定は {names} です。この診断の設定とは異なります。",
            "サーバーは起動したときの設定で動くため、この結果の一部は当てはまらないかもしれません。",
            "新しい設定にするにはサーバーを再起動し、そうでなければ同じ設定で診断してください。",
        ),
    ),
    "unexpected-errors": Text(
        "warning",
        Words(
            "The program has had unexpected errors since its start: {count}.",
            "Each costs one call at most.",
            "Please report it with the traceback in the log.",
        ),
        Words(
            "起動してから、予期しないエラーが {count} 回起きています。",
            "1 回につき、影響を受ける通話は多くても 1 件です。",
            "ログの詳しい記録（traceback）を添えて報告してください。",
        ),
    ),
    # -- calls and refusals ----------------------------------------------------------------------------------------
    "calls": Text(
        "ok",
        Words("The last call came {ago} ago; {count} since the start, {now} now."),
        Words("最後の電話は {ago}前です（起動してから {count} 件、今は {now} 件）。"),
    ),
    "calls-none": Text(
        "note",
        Words(
            "No phone has called since the start, {since} ago.",
            "If a phone has put a call on hold since then, its call has not reached this server.",
            "Check the address in the phone, and that no firewall drops port {port}/udp.",
        ),
        Words(
            "起動してから {since}の間、電話機から電話は来ていません。",
            "その間に電話機で保留をしたのであれば、電話がこのサーバーに届いていません。",
            "電話機に設定したアドレスと、ポート {port}/udp を遮るファイアウォールがないかを確かめてください。",
        ),
    ),
    "reports": Text(
        "ok",
        Words("The receivers of {count} calls have reported that music arrives; on average {loss} was lost."),
        Words("{count} 件の通話で、音楽が届いたと受信側が報告しました（損失は平均 {loss}）。"),
    ),
    "refused-codec": Text(
        "error",
        Words(
            "The phone {source} offers no codec that this server plays.",
            "Its held parties hear nothing. Refused {count} x, the last time {ago} ago: {text}.",
            "Allow PCMU (G.711 µ-law), PCMA, G.722 or Opus in the phone.",
        ),
        Words(
            "電話機 {source} のコーデックは、このサーバーでは再生できません。",
            "保留中の相手には何も聞こえません。{count} 回拒否しました（最後は {ago}前：{text}）。",
            "電話機で PCMU（G.711 µ-law）、PCMA、G.722、Opus のどれかを有効にしてください。",
        ),
    ),
    "refused-destination": Text(
        "error",
        Words(
            "The settings forbid music to the address that the phone {source} names.",
            "Its held parties hear nothing. Refused {count} x, the last time {ago} ago: {text}.",
            "If music is to go there, name the address in MOH_ALLOW_MEDIA, or the phone in MOH_ALLOW.",
        ),
        Words(
            "電話機 {source} が示した音楽の送り先は、設定で許可されていません。",
            "保留中の相手には何も聞こえません。{count} 回拒否しました（最後は {ago}前：{text}）。",
            "そこへ音楽を送ってよければ、そのアドレスを MOH_ALLOW_MEDIA に、または電話機を MOH_ALLOW に"
            "書いてください。",
        ),
    ),
    "refused": Text(
        "note",
        Words(
            "Calls were refused ({count} x {reason}), the last one from {source}.",
            "If that is one of your phones, its held party heard nothing. {ago} ago: {text}.",
            "docs/operations.md says what each refusal means.",
        ),
        Words(
            "拒否した電話があります（{reason}、{count} 回、最後は {source} から）。",
            "お使いの電話機であれば、保留中の相手には何も聞こえませんでした（{ago}前：{text}）。",
            "それぞれの意味は docs/ja/operations.md にあります。",
        ),
    ),
    "allow-shuts-out": Text(
        "error",
        Words(
            "MOH_ALLOW shuts out {source}, which tries to call (datagrams rejected: {count}).",
            "Its calls get no answer: its held parties hear nothing.",
            "If it is one of your phones, add its network to MOH_ALLOW ({allow}), and start again.",
        ),
        Words(
            "{source} は電話をかけようとしていますが、MOH_ALLOW で許可されていません（破棄したパケット：{count}）。",
            "電話に応答しないため、保留中の相手には何も聞こえません。",
            "お使いの電話機であれば、そのネットワークを MOH_ALLOW（今は {allow}）に加えて、再起動してください。",
        ),
    ),
    "nothing-arrives": Text(
        "error",
        Words(
            "The held party at {receiver} reports that no music arrives there ({heard}).",
            "Packets leave this server, and something drops them on their way.",
            "Allow UDP from port {port} of this server to {receiver} in each firewall between them.",
        ),
        Words(
            "保留中の相手 {receiver} は、音楽が届いていないと報告しています（{heard}）。",
            "音楽はこのサーバーから送られていますが、途中で捨てられています。",
            "途中のファイアウォールで、このサーバーのポート {port} から {receiver} への UDP を許可してください。",
        ),
    ),
    "receiver-unreachable": Text(
        "error",
        Words(
            "The music of {caller} did not reach the held party ({ago} ago): {why}.",
            "The server ended that call: the held party heard nothing.",
            "Compare that address with the held party's. If it is right, follow 'No audio, step by step' in "
            "docs/no-music.md.",
        ),
        Words(
            "{caller} の保留の音楽は、相手に届きませんでした（{ago}前）：{why}",
            "サーバーがその通話を終えました。保留中の相手には何も聞こえていません。",
            "そのアドレスが保留中の相手の電話機のものか確かめてください。正しければ、"
            "docs/ja/no-music.md の「音が出ないときの手順」に従ってください。",
        ),
    ),
    "no-ack": Text(
        "error",
        Words(
            "The phone {source} did not confirm its call ({ago} ago): its ACK did not arrive here.",
            "The answer names an address that the phone cannot reach. The music ends after 32 s, and BYE is lost too.",
            "Set MOH_ADVERTISED_ADDRESS (now: {advertised}) to an address of this machine that the phone reaches.",
        ),
        Words(
            "電話機 {source} からの確認（ACK）が届きませんでした（{ago}前）。",
            "応答に書かれたアドレスに、電話機から届かないようです。音楽は 32 秒で切れ、BYE も届きません。",
            "MOH_ADVERTISED_ADDRESS（今は {advertised}）に、電話機から届くこのコンピューターのアドレスを"
            "書いてください。",
        ),
    ),
    "music-failed": Text(
        "error",
        Words(
            "The music of {caller} failed ({ago} ago): {why}.",
            "The server ended that call: the held party heard nothing.",
            "Do what the reason says; the log has more. docs/operations.md explains its lines.",
        ),
        Words(
            "{caller} の音楽を流せませんでした（{ago}前）：{why}",
            "サーバーがその通話を終えました。保留中の相手には何も聞こえていません。",
            "理由に応じて対処してください。詳しいことはログにあり、docs/ja/operations.md にその説明があります。",
        ),
    ),
    # -- the test call ---------------------------------------------------------------------------------------------
    "test-call": Text(
        "ok",
        Words("A test call to {address} heard music: {codec}, {loudness}, {came} of {due} packets."),
        Words("{address} への試しの通話で音楽が聞こえました（{codec}、{loudness}、{due} 個中 {came} 個のパケット）。"),
    ),
    "test-call-barred": Text(
        "note",
        Words(
            "No test call was made: the settings do not let this machine call itself.",
            "{setting} names no address of this machine. That is right if only phones are to call.",
            "Test from a phone's network: python3 test_sip_client.py {host}",
        ),
        Words(
            "試しの通話はしていません。このコンピューター自身からの電話が許可されていないためです。",
            "{setting} に、このコンピューターのアドレスがありません。電話機だけを許可する場合は、これで正しい設定で"
            "す。",
            "電話機のネットワークのコンピューターで python3 test_sip_client.py {host} を実行してください。",
        ),
    ),
    "test-call-refused": Text(
        "error",
        Words(
            "A test call to {address} got no answer, or was refused: {text}.",
            "Callers hear nothing.",
            "{advice}",
        ),
        Words(
            "{address} への試しの通話は、応答がないか、拒否されました（{text}）。",
            "保留中の相手には何も聞こえません。",
            "サーバーのログに理由があります。英語の手がかり：{advice}",
        ),
    ),
    "test-call-silent": Text(
        "error",
        Words(
            "A test call to {address} was answered, but heard no music: {text}.",
            "Callers hear nothing.",
            "{advice}",
        ),
        Words(
            "{address} への試しの通話はつながりましたが、音楽が聞こえませんでした（{text}）。",
            "保留中の相手には何も聞こえません。",
            "サーバーのログを見てください。英語の手がかり：{advice}",
        ),
    ),
    "test-call-wrong": Text(
        "error",
        Words(
            "A test call to {address} heard music, but {name} failed: {text}.",
            "Some phones play such music badly, or not at all.",
            "{advice}",
        ),
        Words(
            "{address} への試しの通話で音楽は聞こえましたが、{name} に問題があります（{text}）。",
            "電話機によっては、音が乱れたり、鳴らなかったりします。",
            "英語の手がかり：{advice}",
        ),
    ),
    "test-call-uneven": Text(
        "warning",
        Words(
            "A test call to {address} heard music whose packets came unevenly: {text}.",
            "Phones play uneven packets with gaps. This machine may have been busy during the check.",
            "Check again when the machine has nothing else to do.",
        ),
        Words(
            "{address} への試しの通話で、音楽の届き方にむらがありました（{text}）。",
            "むらがあると、電話で音が途切れます。診断の間、このコンピューターが忙しかったのかもしれません。",
            "ほかの仕事をしていないときに、もう一度診断してください。",
        ),
    ),
}
"""The text of each finding, by its id."""
