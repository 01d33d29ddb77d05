#!/usr/bin/env bash
# Builds the slim ffmpeg from the distribution's own source package: tools/build_ffmpeg.sh FOLDER
# One file of 4.6 MB that needs no library and runs on this release of Debian or Ubuntu and on others; it can what the
# server needs and no more. The Dockerfile has a stage for it. Packages that are missing for that are installed (root).
set -euo pipefail

# -- what it can ---------------------------------------------------------------------------------------------------

protocols=(file pipe rtp srtp udp)
demuxers=(aac ac3 aiff amr asf au caf eac3 flac g722 g729 gsm matroska mov mp3 ogg 'pcm_*' w64 wav wv)
decoders=(
    # music
    aac alac flac mp1float mp2float mp3float opus 'pcm_*' vorbis wavpack wmalossless wmapro wmav1 wmav2
    # telephony
    adpcm_g722 adpcm_g726 adpcm_g726le adpcm_ima_oki adpcm_ima_qt adpcm_ima_wav adpcm_ms amrnb amrwb g723_1 g729 gsm
    gsm_ms truespeech wmavoice
    # films
    ac3 eac3
)
parsers=(aac ac3 flac g723_1 g729 gsm mpegaudio opus vorbis)
# Only since ffmpeg 5: a former one reads AMR without its parser, and no Speex.
newer_decoders=(speex)
newer_parsers=(amr)
encoders=(adpcm_g722 libopus pcm_alaw pcm_f32le pcm_mulaw pcm_s16le)
muxers=(data null pcm_f32le pcm_s16le rtp wav)
filters=(
    # the stream
    arealtime aresample asetnsamples asetpts asetrate atrim
    # channels
    aformat amerge amix amultiply anull asplit channelmap channelsplit join pan
    # time
    acrossfade adelay afade apad areverse concat silenceremove
    # sound
    acompressor alimiter anequalizer bandpass bandreject bass compand dynaudnorm equalizer firequalizer highpass
    highshelf loudnorm lowpass lowshelf treble volume
    # meters
    ametadata astats ebur128 silencedetect volumedetect
)

# ------------------------------------------------------------------------------------------------------------------

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}
say() { # STEP TEXT: the build takes minutes, and its owner is to see that it goes on
    printf 'ffmpeg, which plays the music: step %d of 5, %s\n' "$1" "$2"
}
quietly() { # COMMAND...: show what it prints only if it fails
    "$@" </dev/null >"$work/log" 2>&1 || { cat "$work/log" >&2 && fail "Failed: ${*:1:3}"; }
}
compile() { # STEP FILES COMMAND...: show as a percentage how many of the FILES are compiled
    local step=$1 files=$2 line done=0 shown=0 share
    {
        "${@:3}" </dev/null 2>&1 || echo failed >"$work/failed"
    } | while IFS= read -r line; do
        printf '%s\n' "$line" >>"$work/log"
        [[ $line =~ ^[A-Z0-9]+$'\t'[^[:space:]]+\.o$ ]] || continue
        done=$((done + 1))
        share=$((100 * done / files / 20 * 20))
        if ((share > shown && share < 100)); then
            say "$step" "compiling it: $share %"
            shown=$share
        fi
    done
    [[ ! -e $work/failed ]] || { cat "$work/log" >&2 && fail "Failed: ${*:3:3}"; }
    say "$step" "compiling it: 100 %"
}
list() { # NAME...: with commas between
    local IFS=,
    printf '%s' "$*"
}
made() { # KIND NAME...: is what configure has chosen what was asked for?
    local kind=$1 name
    for name in "${@:2}"; do
        [[ $name == *'*'* ]] || grep -qsx "#define CONFIG_${name^^}_$kind 1" config.h config_components.h ||
            fail "This ffmpeg has no ${kind,,} $name."
    done
}

if (($# != 1)) || [[ $1 == -* ]]; then fail "Usage: tools/build_ffmpeg.sh FOLDER"; fi
if ! mkdir -p "$1" 2>/dev/null || [[ ! -w $1 ]]; then fail "$1 is not writable; expected a folder for ffmpeg."; fi
folder=$(cd "$1" && pwd)
command -v apt-get >/dev/null || fail "No apt-get here: this builds from source packages of Debian or Ubuntu."

missing=()
for package in ca-certificates cmake dpkg-dev gcc libc6-dev libopus-dev make nasm pkg-config xz-utils; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
if ((${#missing[@]})) && ((EUID != 0)); then
    fail "Missing: ${missing[*]}. Please run: sudo apt-get install -y --no-install-recommends ${missing[*]}"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt downloads as a user of its own
if ((${#missing[@]})); then
    say 1 "installing a compiler (${missing[*]})"
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    quietly "${apt[@]}" update
    quietly "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
fi

# Few machines have the sources in apt's lists. Lists of our own, made from the machine's, leave those as they are;
# mirrors, keys and checks are the machine's.
say 2 "downloading its source"
mkdir -p "$work/sources" "$work/lists/partial" "$work/source"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [[ ! -f $file ]] ||
        sed -E '/^deb-src[[:space:]]/d; s/^deb[[:space:]]/deb-src /; s/^Types:.*/Types: deb-src/' \
            "$file" >"$work/sources/${file##*/}"
done
apt=(
    apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources"
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work"
)
# a list of a third party may have no sources; if the needed one had none, the next command would fail
"${apt[@]}" update </dev/null >"$work/log" 2>&1 || true
cd "$work/source"
quietly "${apt[@]}" source --only-source ffmpeg libsoxr

# soxr resamples. Of libopus Debian has an archive to link from; of soxr it has a shared library only, and with threads
say 3 "compiling its library soxr"
quietly cmake -S libsoxr-*/ -B "$work/soxr" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$work" \
    -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_SHARED_LIBS=OFF -DBUILD_TESTS=OFF -DBUILD_EXAMPLES=OFF -DWITH_LSR_BINDINGS=OFF \
    -DWITH_OPENMP=OFF
quietly make -C "$work/soxr" -j "$(nproc)" install
export CPATH=$work/include LIBRARY_PATH=$work/lib

say 4 "choosing the parts that are needed"
cd ffmpeg-*/
version=$(dpkg-parsechangelog -S Version)
quietly ./configure --extra-version="${version##*-}" \
    --disable-everything --disable-autodetect --disable-doc --disable-debug \
    --disable-avdevice --disable-swscale --disable-ffplay --disable-ffprobe \
    --enable-network --enable-libopus --enable-libsoxr \
    --enable-protocol="$(list "${protocols[@]}")" \
    --enable-demuxer="$(list "${demuxers[@]}")" \
    --enable-decoder="$(list "${decoders[@]}" "${newer_decoders[@]}")" \
    --enable-parser="$(list "${parsers[@]}" "${newer_parsers[@]}")" \
    --enable-encoder="$(list "${encoders[@]}")" \
    --enable-muxer="$(list "${muxers[@]}")" \
    --enable-filter="$(list "${filters[@]}")" \
    --pkg-config-flags=--static --extra-libs=-lm \
    --extra-cflags='-ffunction-sections -fdata-sections' --extra-ldflags='-static -Wl,--gc-sections'
made PROTOCOL "${protocols[@]}"
made DEMUXER "${demuxers[@]}"
made DECODER "${decoders[@]}"
made PARSER "${parsers[@]}"
made ENCODER "${encoders[@]}"
made MUXER "${muxers[@]}"
made FILTER "${filters[@]}"
files=$(make -n ffmpeg 2>/dev/null | grep -c '^printf "[A-Z0-9]*\\t.*\.o;' || true)
: >"$work/log"
compile 5 "$((files ? files : 1000))" make -j "$(nproc)" ffmpeg

strip ffmpeg
install -m 755 ffmpeg "$folder/.ffmpeg.new"
mv "$folder/.ffmpeg.new" "$folder/ffmpeg" # at once, should one be running
"$folder/ffmpeg" -version | head -n1
