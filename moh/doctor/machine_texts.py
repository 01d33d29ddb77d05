"""The words of the findings about the machine: ffmpeg, limits of files, processes and memory, disks."""

from __future__ import annotations

from .words import Text, Words

MACHINE_TEXTS: dict[str, Text] = {
    # -- ffmpeg ----------------------------------------------------------------------------------------------------
    "ffmpeg": Text(
        "ok",
        Words("ffmpeg encodes {codecs}."),
        Words("ffmpeg は {codecs} で音楽を送れます。"),
    ),
    "ffmpeg-missing": Text(
        "error",
        Words(
            "The program ffmpeg is missing.",
            "Without it the server cannot start, and a server that runs gives new callers no music.",
            "Install it: apt-get install ffmpeg, or run ./start.sh.",
        ),
        Words(
            "プログラム ffmpeg がありません。",
            "これがないとサーバーは起動できません。動いているサーバーも、新しい通話に音楽を流せません。",
            "apt-get install ffmpeg を実行するか、./start.sh を実行してください。",
        ),
    ),
    "ffmpeg-broken": Text(
        "error",
        Words(
            "The program {program} does not run, or lists no encoder for phones.",
            "Without one the server cannot start, and a server that runs gives new callers no music.",
            "Install Debian's: apt-get install ffmpeg, or use the image.",
        ),
        Words(
            "プログラム {program} が動かないか、電話用の符号化に対応していません。",
            "これがないとサーバーは起動できません。動いているサーバーも、新しい通話に音楽を流せません。",
            "Debian のものを apt-get install ffmpeg で入れるか、Docker イメージを使ってください。",
        ),
    ),
    "ffmpeg-lacks": Text(
        "warning",
        Words(
            "This ffmpeg has no encoder for {codec}.",
            "A phone that offers other codecs as well gets one of those. A phone that offers {codec} only is refused "
            "(488).",
            "Use the ffmpeg of the image, or Debian's: apt-get install ffmpeg.",
        ),
        Words(
            "この ffmpeg は {codec} に対応していません。",
            "ほかのコーデックも使える電話機には、そちらで流れます。{codec} しか使えない電話機は拒否されます（488）。",
            "Docker イメージの ffmpeg か、Debian のもの（apt-get install ffmpeg）を使ってください。",
        ),
    ),
    # -- limits and room -------------------------------------------------------------------------------------------
    "limits": Text(
        "ok",
        Words("The limits of files, processes and memory leave room for {calls} calls with an ffmpeg."),
        Words("ファイル数、プロセス数、メモリには、ffmpeg を使う通話 {calls} 件分の余裕があります。"),
    ),
    "limit-files": Text(
        "warning",
        Words(
            "The server may open {most} files; {calls} calls with an ffmpeg need about {needed}.",
            "Above that, new calls get no music.",
            "Raise the limit: ulimit -n {needed}, --ulimit nofile={needed}, or LimitNOFILE of systemd. Or lower "
            "MOH_FFMPEG_CALLS: all other calls share one stream.",
        ),
        Words(
            "サーバーが開けるファイルは {most} 個までです。ffmpeg を使う通話 {calls} 件には、約 {needed} 個必要です。",
            "足りなくなると、新しい通話に音楽が流れません。",
            "ulimit -n {needed}、--ulimit nofile={needed}、systemd の LimitNOFILE などで上限を上げるか、"
            "MOH_FFMPEG_CALLS を下げてください（ほかの通話は 1 つのストリームを共有します）。",
        ),
    ),
    "limit-processes": Text(
        "error",
        Words(
            "Only {room} more processes may start ({limit} is {most}); {calls} calls with an ffmpeg need about "
            "{needed}.",
            "A call whose ffmpeg cannot start ends at once: callers hear nothing.",
            "Raise the limit: ulimit -u, pids_limit of Compose, or TasksMax of systemd. Or set MOH_FFMPEG_CALLS=0: all "
            "calls share one stream.",
        ),
        Words(
            "起動できるプロセスは、あと {room} 個です（{limit} は {most}）。ffmpeg を使う通話 {calls} 件には、"
            "約 {needed} 個必要です。",
            "ffmpeg を起動できない通話はすぐに切れ、音楽が流れません。",
            "ulimit -u、Compose の pids_limit、systemd の TasksMax などで上限を上げるか、"
            "MOH_FFMPEG_CALLS=0 としてすべての通話で 1 つのストリームを共有してください。",
        ),
    ),
    "limit-memory": Text(
        "warning",
        Words(
            "{free} of memory are free; {calls} calls with an ffmpeg need about {needed}.",
            "When memory runs out, the kernel ends ffmpegs, and their callers hear nothing.",
            "Give it more memory, or set MOH_FFMPEG_CALLS=0: all calls share one stream.",
        ),
        Words(
            "空いているメモリは {free} です。ffmpeg を使う通話 {calls} 件には、約 {needed} 必要です。",
            "メモリが足りなくなると、OS が ffmpeg を終了させ、その通話の音楽が止まります。",
            "メモリを増やすか、MOH_FFMPEG_CALLS=0 としてすべての通話で 1 つのストリームを共有してください。",
        ),
    ),
    "cache-unusable": Text(
        "error",
        Words(
            "The folder for the converted music cannot be used: {reason}.",
            "The server cannot start.",
            "Set MOH_CACHE to a folder of its own that the server's user may write to, such as /cache/moh.",
        ),
        Words(
            "変換した音楽を置くフォルダーが使えません（{reason}）。",
            "サーバーは起動できません。",
            "MOH_CACHE には、サーバーのユーザーだけが書き込める専用のフォルダー（例：/cache/moh）を指定してください。",
        ),
    ),
    "disk-full": Text(
        "error",
        Words(
            "The disk of the folder {folder} has no room for the converted music: {free} are free.",
            "Your music cannot be converted, so callers do not hear it.",
            "Make room on that disk, or set MOH_CACHE to a folder on another one. In the container: a larger tmpfs "
            "/tmp.",
        ),
        Words(
            "変換した音楽を置くフォルダー {folder} のディスクがいっぱいです（空き {free}）。",
            "音楽を変換できないため、保留中の相手に流れません。",
            "ディスクを空けるか、MOH_CACHE に別のディスクのフォルダーを指定してください。コンテナでは、"
            "/tmp の tmpfs を大きくしてください。",
        ),
    ),
    "disk-low": Text(
        "warning",
        Words(
            "The disk of the folder {folder} has {free} free; new music of that length needs {needed}.",
            "The present music plays on, but new music could not be converted.",
            "Make room on that disk, or set MOH_CACHE to a folder on another one.",
        ),
        Words(
            "変換した音楽を置くフォルダー {folder} のディスクの空きは {free} です。"
            "同じ長さの新しい音楽には {needed} 必要です。",
            "今の音楽は流れ続けますが、新しい音楽は変換できません。",
            "ディスクを空けるか、MOH_CACHE に別のディスクのフォルダーを指定してください。",
        ),
    ),
    "trace-disk": Text(
        "warning",
        Words(
            "The disk of the trace file {file} has {free} free.",
            "When it is full, the trace of SIP messages ends. Calls go on.",
            "Make room on that disk, or leave MOH_TRACE empty.",
        ),
        Words(
            "SIP の記録 {file} を置くディスクの空きは {free} です。",
            "いっぱいになると、SIP の記録が止まります。通話は続きます。",
            "ディスクを空けるか、MOH_TRACE を空にしてください。",
        ),
    ),
}
"""The text of each finding, by its id."""
