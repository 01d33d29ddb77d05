#!/usr/bin/env bash
# Builds the slim ffmpeg from the distribution's own source package: tools/build_ffmpeg.sh FOLDER
# One file of 4.7 MB that needs no library and runs on this release of Debian or Ubuntu and on others; it has what the
# server needs and no more. The Dockerfile has a stage for it. As root, it installs the packages that it needs, unless
# INSTALL=no.
set -euo pipefail

# -- what it can ---------------------------------------------------------------------------------------------------

protocols=(file pipe rtp srtp udp)
demuxers=(
    aac ac3 aiff amr asf au caf eac3 flac g722 g729 gsm matroska mov mp3 ogg 'pcm_*' w64 wav wv
    # radios by HLS
    mpegts
)
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
muxers=(data null ogg pcm_f32le pcm_s16le rtp wav)
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

# -- what runs for each packet -------------------------------------------------------------------------------------

# A call's ffmpeg wakes up 50 times a second, and other processes have used the processor's caches meanwhile. These
# functions lie side by side in the program, so each time it touches fewer pages. The names are those that "perf record"
# saw while PCMU and G.722 played; a name that this version does not have is ignored.
hot=(
    reap_filters pcm_encode_frame ff_filter_graph_run_once ff_filter_frame ff_filter_activate of_write_packet
    ffurl_write av_packet_free_side_data ff_framequeue_peek print_report ff_inlink_consume_samples av_buffer_ref
    av_frame_unref av_frame_move_ref av_interleaved_write_frame udp_write av_buffer_unref av_usleep
    encode_receive_packet_internal ff_avfilter_graph_update_heap av_log_default_callback av_malloc avio_write
    rtp_write_packet rtp_write adjust_frame_pts_to_encoder_tb avcodec_send_frame frame_copy_props avio_w8
    ff_request_frame_to_filter write_packet_common process_input_packet av_get_exact_bits_per_sample
    ff_inlink_check_available_samples ff_update_link_current_pts av_get_media_type_string av_dict_free
    av_channel_layout_uninit ff_frame_pool_get decode_interrupt_cb ff_inlink_consume_frame av_bsf_send_packet
    av_packet_unref av_rescale_rnd init_output_stream_wrapper avcodec_default_get_buffer2 bsf_list_filter
    decode_receive_frame_internal get_frame_internal ff_filter_set_ready ff_frame_pool_get_audio_config
    av_buffer_replace av_read_frame ff_interleave_packet_passthrough av_channel_layout_compare
    av_sample_fmt_is_planar av_samples_copy av_vlog send_frame_to_filters ff_default_get_audio_buffer
    ff_inlink_acknowledge_status pool_release_buffer update_benchmark av_buffer_create av_fifo_read av_frame_alloc
    avfilter_graph_request_oldest ff_framequeue_take ff_rtp_send_data av_bsf_receive_packet av_codec_is_decoder
    avio_write_marker compute_pkt_fields ff_check_interrupt ff_encode_get_frame ff_index_search_timestamp av_bprintf
    av_channel_layout_copy av_get_audio_frame_duration2 av_gettime_relative av_log av_packet_move_ref av_rescale_q
    av_samples_set_silence avio_seek ff_decode_frame_props ff_decode_get_packet rtp_send_samples
    av_buffersink_get_frame_flags av_buffersink_get_time_base av_buffersrc_add_frame_flags av_get_bytes_per_sample
    av_mallocz avcodec_descriptor_get avcodec_receive_frame avcodec_send_packet avio_flush avpriv_packet_list_get
    ff_framequeue_skip_samples ff_get_cpu_max_align_x86 ff_inlink_request_frame ff_read_packet pcm_decode_frame
    read_frame_internal av_buffer_pool_get av_channel_layout_check av_codec_is_encoder av_dict_copy av_dict_get
    av_frame_copy_props av_frame_free av_frame_ref av_gcd av_mul_q av_packet_ref av_packet_rescale_ts av_realloc
    av_rescale_q_rnd avcodec_default_get_encode_buffer avio_size check_decode_result ff_framequeue_add ff_get_buffer
    ff_inlink_process_commands ff_ntp_time avcodec_receive_packet ff_inlink_evaluate_timeline_at_frame
    av_rescale_delta av_buffersink_get_type av_fifo_can_read compute_frame_duration ff_attach_decode_data
    ff_request_frame av_add_index_entry av_buffer_default_free av_fifo_drain2 av_freep av_gettime
    av_packet_copy_props avio_wb32 decode_data_free ff_bsf_get_packet_ref ff_get_audio_buffer ff_get_encode_buffer
    ff_inlink_check_available_frame ff_outlink_get_status ff_wrap_timestamp get_audio_frame_duration
    heap_bubble_down do_adaptive_prediction g722_encode_frame ff_g722_update_low_predictor
    ff_g722_update_high_predictor wav_read_packet ff_add_index_entry av_buffer_realloc
    av_get_channel_layout_nb_channels av_get_cpu_flags avio_read file_read append_packet_chunked av_add_stable
    av_fast_realloc av_log2 av_packet_unpack_dictionary ff_reduce_index ff_tlog_link ffurl_read get_input_packet
    update_initial_timestamps filter_frame activate write_packet encode_frame request_frame writeout transcode
    default_filter_frame output_packet
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
if ((${#missing[@]})) && { ((EUID != 0)) || [[ ${INSTALL:-} == no ]]; }; then
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
# Before each packet ffmpeg asks whether its buffer has room, by one system call of three. This line removes that: the
# socket for RTP blocks, so sendto waits by itself in the rare case that the buffer is full.
sed -i '/^static int udp_write/,/^}/ s/if (!(h->flags & AVIO_FLAG_NONBLOCK)) {/if (0) {/' libavformat/udp.c
linker=(-static '-Wl,--gc-sections')
if [[ $(uname -m) == x86_64 ]] && command -v ld.gold >/dev/null; then # only this linker orders functions
    printf '.text.%s\n' "${hot[@]}" >hot.order
    linker+=(-fuse-ld=gold "-Wl,--section-ordering-file=hot.order")
fi
# Without iconv: a static program that calls it loads libraries of the system that it runs on. Those of another release
# crash it, and MPEG-TS (a radio by HLS) calls it.
quietly ./configure --extra-version="${version##*-}" \
    --disable-everything --disable-autodetect --disable-doc --disable-debug \
    --disable-iconv --disable-avdevice --disable-swscale --disable-ffplay --disable-ffprobe \
    --enable-network --enable-libopus --enable-libsoxr \
    --enable-protocol="$(list "${protocols[@]}")" \
    --enable-demuxer="$(list "${demuxers[@]}")" \
    --enable-decoder="$(list "${decoders[@]}" "${newer_decoders[@]}")" \
    --enable-parser="$(list "${parsers[@]}" "${newer_parsers[@]}")" \
    --enable-encoder="$(list "${encoders[@]}")" \
    --enable-muxer="$(list "${muxers[@]}")" \
    --enable-filter="$(list "${filters[@]}")" \
    --pkg-config-flags=--static --extra-libs=-lm \
    --extra-cflags='-ffunction-sections -fdata-sections' --extra-ldflags="${linker[*]}"
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
