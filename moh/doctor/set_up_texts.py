"""The words of the findings about the set-up: music, address, ports."""

from __future__ import annotations

from .words import Text, Words

SET_UP_TEXTS: dict[str, Text] = {
    # -- music -----------------------------------------------------------------------------------------------------
    "music-plays": Text(
        "ok",
        Words("Callers hear {name} ({details})."),
        Words("保留中の相手に {name} が流れます（{details}）。"),
    ),
    "default-plays": Text(
        "ok",
        Words("Callers hear {name} ({details}), unless they dial a name of the music folder."),
        Words("音楽フォルダーの名前でない電話には {name} が流れます（{details}）。"),
    ),
    "music-builtin": Text(
        "note",
        Words(
            "No music of yours is set, so callers hear the built-in piece.",
            "MOH_MUSIC is empty, and there is no music.mp3.",
            "If you want your own music, write MOH_MUSIC=./your.mp3 into .env and start again.",
        ),
        Words(
            "音楽が指定されていないため、内蔵の曲が流れます。",
            "MOH_MUSIC が空で、music.mp3 もありません。",
            "お使いの音楽を流すには、.env に MOH_MUSIC=./your.mp3 と書いて、再起動してください。",
        ),
    ),
    "music-waits": Text(
        "note",
        Words(
            "It is not known yet whether {name} can be played.",
            "The server still prepares it, or waits for the end of the file. Callers hear the built-in piece "
            "meanwhile.",
            "Wait for a minute, then check again.",
        ),
        Words(
            "{name} を再生できるかどうかは、まだ分かりません。",
            "音楽を準備している途中か、ファイルの残りを待っているところです。その間は内蔵の曲が流れます。",
            "1 分ほど待ってから、もう一度診断してください。",
        ),
    ),
    "music-unreadable": Text(
        "error",
        Words(
            "The server (user {user}) may not read the music {name}.",
            "Callers hear the built-in piece in its place.",
            "Where the file is, run: chmod a+r {name}, and chmod a+rx on its folders.",
        ),
        Words(
            "サーバー（ユーザー {user}）には、音楽ファイル {name} を読む権限がありません。",
            "代わりに内蔵の曲が流れます。",
            "ファイルのあるコンピューターで chmod a+r {name} を実行し、そのフォルダーには chmod a+rx を"
            "実行してください。",
        ),
    ),
    "music-missing": Text(
        "error",
        Words(
            "There is no music at {name}.",
            "Callers hear the built-in piece in its place.",
            "Correct MOH_MUSIC, or put the file there.",
        ),
        Words(
            "{name} に音楽ファイルがありません。",
            "代わりに内蔵の曲が流れます。",
            "MOH_MUSIC を直すか、そこに音楽ファイルを置いてください。",
        ),
    ),
    "music-silent": Text(
        "error",
        Words(
            "The music {name} is almost silent on a telephone.",
            "A telephone carries 300 to 3400 Hz only. Callers hear the built-in piece in place of silence.",
            "Listen to the file. Is it the right one?",
        ),
        Words(
            "音楽ファイル {name} は、電話ではほとんど聞こえません。",
            "電話で伝わる音は 300～3400 Hz だけです。無音の代わりに内蔵の曲が流れます。",
            "ファイルを再生して、正しい音楽かどうか確かめてください。",
        ),
    ),
    "music-truncated": Text(
        "warning",
        Words(
            "The end of the music {name} is missing: {missing}.",
            "Callers hear the music break off and begin again.",
            "Copy the whole file once more.",
        ),
        Words(
            "音楽ファイル {name} は途中で切れています（{missing}）。",
            "音楽が途中で途切れ、また初めから流れます。",
            "ファイル全体を、もう一度コピーしてください。",
        ),
    ),
    "music-refused": Text(
        "error",
        Words(
            "The music {name} cannot be played: {reason}.",
            "Callers hear the built-in piece in its place.",
            "Put a file there that can be played, such as an MP3. The next callers hear it, without a restart.",
        ),
        Words(
            "音楽ファイル {name} は再生できません（{reason}）。",
            "代わりに内蔵の曲が流れます。",
            "MP3 など、再生できるファイルに置き換えてください。再起動しなくても、次の通話から流れます。",
        ),
    ),
    # -- the address that callers are told -------------------------------------------------------------------------
    "address": Text(
        "ok",
        Words("Phones dial {uri}."),
        Words("電話機に設定するアドレスは {uri} です。"),
    ),
    "address-stand-in": Text(
        "note",
        Words(
            "This container cannot know the address of its machine.",
            "Phones dial the machine that runs the container, and answers name the address that was dialled.",
            "Type sip:123@ADDRESS:{port} into the phone. 'hostname -I' on that machine prints ADDRESS first.",
        ),
        Words(
            "コンテナの中からは、それを動かしているコンピューターのアドレスが分かりません。",
            "電話機はそのコンピューターに電話をかけ、応答にはかけられた先のアドレスが書かれます。",
            "電話機には sip:123@ADDRESS:{port} と設定してください。ADDRESS は、そのコンピューターで hostname -I を"
            "実行すると最初に表示されるアドレスです。",
        ),
    ),
    "address-loopback": Text(
        "error",
        Words(
            "Callers are told the address {address}, which for each phone means the phone itself.",
            "The phones' ACK and BYE do not arrive here: the music ends after 32 s, or stays silent.",
            "Set MOH_ADVERTISED_ADDRESS to an address of this machine that phones reach, or leave it empty.",
        ),
        Words(
            "応答に書かれるアドレスは {address} です。これは、電話機にとっては電話機自身を指します。",
            "電話機からの ACK と BYE がこのサーバーに届かず、音楽が 32 秒で切れたり、無音になったりします。",
            "MOH_ADVERTISED_ADDRESS には、電話機から届くこのコンピューターのアドレスを書くか、空にしてください。",
        ),
    ),
    "address-of-container": Text(
        "error",
        Words(
            "Callers are told {address}, the address of this container, which only its own machine reaches.",
            "The phones' ACK and BYE do not arrive here: the music ends after 32 s, or stays silent.",
            "Set MOH_ADVERTISED_ADDRESS to the address of the machine that runs the container, or leave it empty.",
        ),
        Words(
            "応答に書かれるアドレスは {address} です。これはコンテナのアドレスで、"
            "ほかのコンピューターからは届きません。",
            "電話機からの ACK と BYE がこのサーバーに届かず、音楽が 32 秒で切れたり、無音になったりします。",
            "MOH_ADVERTISED_ADDRESS には、コンテナを動かしているコンピューターのアドレスを書くか、空にしてください。",
        ),
    ),
    "address-elsewhere": Text(
        "warning",
        Words(
            "Callers are told {address}, which is no address of this machine; it has {own}.",
            "If no router forwards {address} to this machine, phones stay silent, or the music ends after 32 s.",
            "Set MOH_ADVERTISED_ADDRESS to an address of this machine, or leave it empty. With such a router: do "
            "nothing.",
        ),
        Words(
            "応答に書かれるアドレス {address} は、このコンピューターのものではありません（実際のアドレス：{own}）。",
            "{address} への通信をルーターがここへ転送していなければ、無音になるか、音楽が 32 秒で切れます。",
            "MOH_ADVERTISED_ADDRESS にこのコンピューターのアドレスを書くか、空にしてください。"
            "ルーターが転送している場合は、そのままでかまいません。",
        ),
    ),
    "bind-loopback": Text(
        "note",
        Words(
            "The server listens at {address} only, which no other machine reaches.",
            "Phones cannot call it. Only a program of this machine can, such as a PBX.",
            "For phones set MOH_BIND=0.0.0.0, or leave it empty.",
        ),
        Words(
            "サーバーは {address} でだけ待ち受けています。ほかのコンピューターや電話機からは届きません。",
            "電話機からはかけられません。かけられるのは、PBX など、このコンピューターのプログラムだけです。",
            "電話機から使うには、MOH_BIND=0.0.0.0 とするか、空にしてください。",
        ),
    ),
    "bind-elsewhere": Text(
        "error",
        Words(
            "MOH_BIND is {address}, which is no address of this machine; it has {own}.",
            "The server cannot start.",
            "Set MOH_BIND to an address of this machine, or leave it empty.",
        ),
        Words(
            "MOH_BIND の {address} は、このコンピューターのアドレスではありません（実際のアドレス：{own}）。",
            "サーバーは起動できません。",
            "MOH_BIND にこのコンピューターのアドレスを書くか、空にしてください。",
        ),
    ),
    "network-none": Text(
        "warning",
        Words(
            "This machine has no address on a network.",
            "Phones cannot reach it.",
            "Connect it to the network of the phones, then check again.",
        ),
        Words(
            "このコンピューターは、ネットワーク上のアドレスを持っていません。",
            "電話機からは届きません。",
            "電話機と同じネットワークに接続してから、もう一度診断してください。",
        ),
    ),
    # -- ports -----------------------------------------------------------------------------------------------------
    "ports-free": Text(
        "ok",
        Words("The ports {sip} (SIP) and {rtp} (music) are free."),
        Words("ポート {sip}（SIP）と {rtp}（音楽）は空いています。"),
    ),
    "port-taken": Text(
        "error",
        Words(
            "Another program has the port {port} ({transport}): {program}.",
            "The server cannot start, and phones reach that program in its place.",
            "Stop that program, or set {setting} to another port.",
        ),
        Words(
            "ポート {port}（{transport}）は、ほかのプログラムが使っています：{program}",
            "サーバーは起動できず、電話はそのプログラムにかかってしまいます。",
            "そのプログラムを止めるか、{setting} に別のポートを指定してください。",
        ),
    ),
    "rtp-port-taken": Text(
        "error",
        Words(
            "Another program has the UDP port {port} of MOH_RTP_PORTS {first}-{last}: {program}.",
            "The shared stream needs this port, so the server cannot start.",
            "Stop that program, or set MOH_RTP_PORTS to other ports.",
        ),
        Words(
            "MOH_RTP_PORTS {first}-{last} の UDP ポート {port} は、ほかのプログラムが使っています：{program}",
            "共有ストリームにはこのポートが必要なため、サーバーは起動できません。",
            "そのプログラムを止めるか、MOH_RTP_PORTS に別のポートを指定してください。",
        ),
    ),
    "sip-not-published": Text(
        "error",
        Words(
            "The machine of this container does not pass on the port {port} (UDP).",
            "Phones cannot call the server.",
            "Publish it: -p {port}:{port}/udp, as docker-compose.yml does, or use the host's network.",
        ),
        Words(
            "コンテナを動かしているコンピューターは、ポート {port}（UDP）を転送していません。",
            "電話機からサーバーにかけられません。",
            "docker-compose.yml のように -p {port}:{port}/udp で公開するか、ホストのネットワークを使ってください。",
        ),
    ),
    "rtp-published": Text(
        "ok",
        Words("The RTP ports are published: the port {port} of this container's machine leads here."),
        Words("RTP のポートは公開されています（コンピューターのポート {port} から、ここに届きました）。"),
    ),
    "rtp-not-published": Text(
        "note",
        Words(
            "The RTP ports {first}-{last} are not published: this container's machine refuses port {port} (UDP).",
            "Between private addresses music arrives all the same, but not at phones with public addresses, nor at "
            "phones that send before the music comes.",
            "Publish them with equal numbers: -p {first}-{last}:{first}-{last}/udp, or use the host's network. Then "
            "run "
            "on a machine in the phones' network: python3 test_sip_client.py ADDRESS",
        ),
        Words(
            "RTP のポート {first}-{last} が公開されていません（コンピューターがポート {port}（UDP）を拒否しました）。",
            "プライベートアドレスの間では音楽が届きますが、グローバルアドレスの電話機や、先に音声を送る電話機には"
            "届きません。",
            "-p {first}-{last}:{first}-{last}/udp のように同じ番号で公開するか、ホストのネットワークを使ってください。"
            "そのあと、電話機のネットワークのコンピューターで python3 test_sip_client.py アドレス を実行してください。",
        ),
    ),
    "rtp-unknown": Text(
        "note",
        Words(
            "From inside of this container it cannot be seen whether the RTP ports {first}-{last} are published.",
            "The machine of the container has not answered.",
            "Run on a machine in the phones' network: python3 test_sip_client.py ADDRESS",
        ),
        Words(
            "RTP のポート {first}-{last} が公開されているかどうかは、コンテナの中からは分かりません。",
            "コンテナを動かしているコンピューターから返事がありませんでした。",
            "電話機のネットワークのコンピューターで python3 test_sip_client.py アドレス を実行してください。",
        ),
    ),
}
"""The text of each finding, by its id."""
