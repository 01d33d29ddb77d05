"""The words of the findings about music by name."""

from __future__ import annotations

from .words import Text, Words

NAME_TEXTS: dict[str, Text] = {
    "names": Text(
        "ok",
        Words("Names in the folder {folder}: {count}. Ready: {ready} ({names})."),
        Words("フォルダー {folder} には名前が {count} 個あり、{ready} 個の準備ができています（{names}）。"),
    ),
    "radio-plays": Text(
        "ok",
        Words("The radio {name} plays: {what}."),
        Words("ラジオ {name} が流れています（{what}）。"),
    ),
    "names-wait": Text(
        "note",
        Words(
            "Names whose music is not ready yet: {count} ({names}).",
            "Callers who dial them hear the default meanwhile.",
            "Wait. The music that phones have dialled is converted first.",
        ),
        Words(
            "音楽の準備がまだの名前が {count} 個あります（{names}）。",
            "それらの名前では、その間、既定の音楽が流れます。",
            "お待ちください。電話がかかってきた名前から先に変換します。",
        ),
    ),
    "folder": Text(
        "ok",
        Words("Names in the folder {folder}: {count} ({names})."),
        Words("フォルダー {folder} には名前が {count} 個あります（{names}）。"),
    ),
    "folder-trouble": Text(
        "error",
        Words(
            "The folder {folder} cannot be used: {reason}.",
            "Callers hear the music that was there before, or the built-in piece.",
            "Let the server read the folder and all in it: chmod -R a+rX {folder}. On a network share, see that it is "
            "there.",
        ),
        Words(
            "フォルダー {folder} を使えません（{reason}）。",
            "それまでの音楽か、内蔵の曲が流れます。",
            "chmod -R a+rX {folder} を実行して、サーバーがフォルダーの中を読めるようにしてください。"
            "ネットワーク上の共有フォルダーなら、つながっているか確かめてください。",
        ),
    ),
    "folder-empty": Text(
        "error",
        Words(
            "There is no music in the folder {folder}.",
            "Callers hear the built-in piece.",
            "Put music into it, such as jazz.mp3, and let the server read it: chmod -R a+rX {folder}",
        ),
        Words(
            "フォルダー {folder} に音楽がありません。",
            "内蔵の曲が流れます。",
            "jazz.mp3 のような音楽ファイルを置き、サーバーが読めるように chmod -R a+rX {folder} を実行してください。",
        ),
    ),
    "announce-alone": Text(
        "warning",
        Words(
            "The folder {folder} has an announcement, and no piece beside it.",
            "The announcement is not spoken: it belongs to the pieces in the same folder.",
            "Put it into the folder of the name that it is for, or put pieces beside it.",
        ),
        Words(
            "フォルダー {folder} にアナウンスがありますが、同じ場所に曲がありません。",
            "アナウンスは、同じ場所にある曲のためのものなので、流れません。",
            "アナウンスを流したい名前のフォルダーに移すか、同じ場所に曲を置いてください。",
        ),
    ),
    "name-refused": Text(
        "warning",
        Words(
            "The name {name} cannot be played: {reason}.",
            "Callers who dial it hear the default, or the music that it had before.",
            "Put it right or take it out of the folder; the server sees that by itself.",
        ),
        Words(
            "名前 {name} の音楽は再生できません（{reason}）。",
            "この名前では、既定の音楽か、それまでの音楽が流れます。",
            "ファイルを直すか、フォルダーから取り除いてください。サーバーは自動で読み直します。",
        ),
    ),
    "name-full": Text(
        "warning",
        Words(
            "There is no room for the music of {name}: {reason}.",
            "Callers who dial it hear the default.",
            "Set MOH_CACHE_LIMIT higher, make room on the disk, or take music out of the folder.",
        ),
        Words(
            "名前 {name} の音楽を置く空きがありません（{reason}）。",
            "この名前では、既定の音楽が流れます。",
            "MOH_CACHE_LIMIT を大きくするか、ディスクに空きを作るか、フォルダーの音楽を減らしてください。",
        ),
    ),
    "radio-away": Text(
        "warning",
        Words(
            "The radio {name} has been away for {ago}: {reason}.",
            "Its callers hear other music meanwhile. The server tries again at least once a minute.",
            "Open {address} in a browser. If it does not play there either, put the station's present address into the "
            "file.",
        ),
        Words(
            "ラジオ {name} を {ago}前から受信できません（{reason}）。",
            "その間は別の音楽が流れます。サーバーは 1 分に 1 回以上、つなぎ直します。",
            "{address} がブラウザーで再生できるか確かめてください。"
            "再生できなければ、放送局の今のアドレスをファイルに書いてください。",
        ),
    ),
    "radio-inside": Text(
        "warning",
        Words(
            "The address of the radio {name} is refused: {reason}.",
            "Its callers hear other music, so that no station leads the server into your network.",
            "If the source is your own, set MOH_ALLOW_RADIO to its network. Otherwise correct the address in the file.",
        ),
        Words(
            "ラジオ {name} のアドレスは拒否されました（{reason}）。",
            "放送局がサーバーを内部のネットワークへ向けることがないように、別の音楽を流します。",
            "ご自分の放送なら、MOH_ALLOW_RADIO にそのネットワークを設定してください。"
            "そうでなければ、ファイルのアドレスを直してください。",
        ),
    ),
    "names-more": Text(
        "warning",
        Words(
            "More names that do not play: {count} ({names}).",
            "Callers who dial them hear other music.",
            "The page (MOH_HTTP) lists them with the reason of each.",
        ),
        Words(
            "流れない名前が、ほかに {count} 個あります（{names}）。",
            "それらの名前では、別の音楽が流れます。",
            "それぞれの理由は、状態ページ（MOH_HTTP）に表示されます。",
        ),
    ),
    "names-alike": Text(
        "note",
        Words(
            "The names {name} and {other} differ in capitals only.",
            "Capitals count: a phone hears the one whose letters it dials.",
            "If that is not meant, give one of them another name.",
        ),
        Words(
            "名前 {name} と {other} は、大文字と小文字が違うだけです。",
            "大文字と小文字は区別します。電話機に入力したとおりの名前の音楽が流れます。",
            "そのつもりでなければ、どちらかを別の名前にしてください。",
        ),
    ),
    "name-slip": Text(
        "note",
        Words(
            "Phones dial {name}, which is not in the folder; {near} is.",
            "They hear the default ({count} x, the last time {ago} ago).",
            "Correct the name in the phone, or give the music that name. Capitals count.",
        ),
        Words(
            "フォルダーにない名前 {name} に電話がかかってきました（{near} ならあります）。",
            "既定の音楽が流れました（{count} 回、最後は {ago}前）。",
            "電話機の名前を直すか、音楽をその名前に変えてください。大文字と小文字は区別します。",
        ),
    ),
    "not-played": Text(
        "note",
        Words(
            "In the folder: {text}.",
            "Callers do not hear it.",
            "If they should, put it right, rename it or move it; otherwise leave it.",
        ),
        Words(
            "フォルダーの中に、流さないものがあります（{text}）。",
            "電話の相手には聞こえません。",
            "聞かせたい場合は、ファイルを直すか、名前か場所を変えてください。そうでなければ、そのままでかまいません。",
        ),
    ),
}
"""The text of each finding, by its id."""
