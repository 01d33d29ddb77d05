# The server needs nothing but Python and ffmpeg. Works with a read-only root, no capabilities and any --user,
# given a writable /tmp: docker run --read-only --tmpfs /tmp --cap-drop ALL -v "$PWD/music.mp3:/music.mp3:ro" ...
ARG PYTHON_VERSION=3.9

# The slim ffmpeg, 4 MB with what the server needs. From the source of Debian 12, since the ffmpeg of 13 (7.1) takes
# twice the processor for a call, and 1.6 s to end. --build-arg FFMPEG=full takes that of 13, as Debian has it.
FROM python:${PYTHON_VERSION}-slim-bookworm AS ffmpeg
ARG FFMPEG=slim
WORKDIR /build
COPY tools/build_ffmpeg.sh ./
RUN mkdir /built && if [ "$FFMPEG" = slim ]; then ./build_ffmpeg.sh /built; fi

FROM python:${PYTHON_VERSION}-slim
ARG FFMPEG=slim
COPY --from=ffmpeg /built/ /usr/local/bin/
# Debian's ffmpeg brings a compiler for 3D graphics along, 200 MB that it loads for no sound.
RUN if [ "$FFMPEG" = full ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ffmpeg \
        && rm -rf /var/lib/apt/lists/* /usr/lib/*/libLLVM* /usr/lib/*/libgallium* /usr/lib/*/libz3.*; \
    fi \
    && ffmpeg -version \
    && useradd --uid 5060 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin moh

WORKDIR /app
COPY requirements.txt ./
# Without the compiled modules of pip itself, 5 MB that nobody uses.
RUN PYTHONDONTWRITEBYTECODE=1 pip install --no-cache-dir --root-user-action=ignore -r requirements.txt

COPY moh/ moh/
COPY tools/setup.sh tools/
COPY sip_server.py start.sh test_sip_client.py test_udp.py ./
# Readable for any user, however strict the checkout was. Then each program once: it proves that it runs, and leaves
# the compiled modules behind that the image's user could not keep; they make a health check cost a quarter.
RUN chmod -R a+rX . \
    && MOH_CACHE=/tmp/moh python3 -m moh.mastering.prepare && rm -r /tmp/moh \
    && python3 sip_server.py --help >/dev/null \
    && python3 test_udp.py --help >/dev/null

USER 5060:5060
ENV MOH_CACHE=/tmp/moh \
    PYTHONUNBUFFERED=1
EXPOSE 5060/udp 5060/tcp 5061/tcp 10000-10100/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["sh", "-c", "exec python3 test_udp.py \"${MOH_BIND:-127.0.0.1}:${MOH_SIP_PORT:-5060}\""]
ENTRYPOINT ["./start.sh"]
