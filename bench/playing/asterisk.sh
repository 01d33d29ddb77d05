#!/bin/sh
# Asterisk 22 as a peer of "python -m bench.playing rate": extension 123 plays music on hold to each caller.
#
#   asterisk.sh MUSIC PORT FIRST LAST
#
# MUSIC is a folder with a file of µ-law (ffmpeg -i moh/builtin.mp3 -ar 8000 -ac 1 -f mulaw MUSIC/tune.ulaw). Asterisk
# listens at 127.0.0.1:PORT, plays from the ports FIRST to LAST, and loads only the modules that this needs. The script
# stays in the foreground and writes into a new folder of the current one.
set -eu
folder=$(mktemp -d "$PWD/asterisk-XXXXXX")
mkdir "$folder/etc" "$folder/run" "$folder/log" "$folder/spool" "$folder/db"
cd "$folder/etc"
cat >asterisk.conf <<END
[directories]
astetcdir => $folder/etc
astvarlibdir => /var/lib/asterisk
astdatadir => /usr/share/asterisk
astdbdir => $folder/db
astkeydir => $folder/db
astagidir => $folder/run
astspooldir => $folder/spool
astrundir => $folder/run
astlogdir => $folder/log
END
{
    printf '[modules]\nautoload=no\n'
    for module in codec_ulaw codec_alaw format_pcm res_timing_timerfd res_musiconhold res_rtp_asterisk \
        res_sorcery_config res_sorcery_memory res_sorcery_astdb res_pjproject res_pjsip res_pjsip_session \
        res_pjsip_sdp_rtp res_pjsip_pubsub res_pjsip_endpoint_identifier_anonymous res_pjsip_rfc3326 chan_pjsip \
        bridge_simple pbx_config; do
        echo "load=$module.so"
    done
} >modules.conf
printf '[default]\nmode=files\ndirectory=%s\n' "$1" >musiconhold.conf
printf '[general]\nrtpstart=%s\nrtpend=%s\n' "$3" "$4" >rtp.conf
printf '[default]\nexten => 123,1,Answer()\n same => n,MusicOnHold(default)\n' >extensions.conf
printf '[general]\n[logfiles]\nmessages.log => error\n' >logger.conf
cat >pjsip.conf <<END
[global]
type=global
endpoint_identifier_order=anonymous
[udp]
type=transport
protocol=udp
bind=127.0.0.1:$2
[anonymous]
type=endpoint
context=default
disallow=all
allow=ulaw
direct_media=no
END
exec asterisk -f -C "$folder/etc/asterisk.conf"
