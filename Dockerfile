# The server needs only Python and ffmpeg. It works with a read-only root, without capabilities and as any --user,
# if /tmp is writable: docker run --read-only --tmpfs /tmp --cap-drop ALL -v "$PWD/music.mp3:/music.mp3:ro" ...
ARG PYTHON_VERSION=3.9

# The slim ffmpeg: 4.7 MB, only what the server needs. It is built from the source of Debian 12, since the ffmpeg of
# Debian 13 (7.1) takes twice the CPU time for a call, and 1.6 s to end. --build-arg FFMPEG=full installs that one.
FROM python:${PYTHON_VERSION}-slim-bookworm AS ffmpeg
ARG FFMPEG=slim
WORKDIR /build
COPY tools/build_ffmpeg.sh ./
RUN mkdir /built && if [ "$FFMPEG" = slim ]; then ./build_ffmpeg.sh /built; fi

# The core, compiled by mypyc: a call takes less of the processor. Where it cannot be compiled, as on a processor for
# which mypy has no package, the image has pure Python alone. So it has with --build-arg CORE=pure.
FROM python:${PYTHON_VERSION}-slim AS core
ARG CORE=compiled
WORKDIR /build
COPY requirements-compile.txt ./
RUN if [ "$CORE" = compiled ]; then \
        apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
        && pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
            --require-hashes -r requirements-compile.txt; \
    fi || echo "The tools that compile the core cannot be installed here"
COPY moh/ moh/
COPY tools/compile_core.py tools/
RUN mkdir /built && if [ "$CORE" = compiled ]; then \
        python3 tools/compile_core.py /built \
        || { rm -rf /built/*; echo "THE CORE IS NOT COMPILED: the lines above say why. The server runs as pure Python."; }; \
    else printf pure >/built/digest; fi

FROM python:${PYTHON_VERSION}-slim
ARG FFMPEG=slim
COPY --from=ffmpeg /built/ /usr/local/bin/
# Debian's ffmpeg depends on a compiler for 3D graphics, 200 MB that it never loads for sound.
RUN if [ "$FFMPEG" = full ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ffmpeg \
        && rm -rf /var/lib/apt/lists/* /usr/lib/*/libLLVM* /usr/lib/*/libgallium* /usr/lib/*/libz3.*; \
    fi \
    && ffmpeg -version >/dev/null \
    && useradd --uid 5060 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin moh

WORKDIR /app
COPY requirements.txt ./
# Without the compiled modules of pip itself, 5 MB without use.
RUN PYTHONDONTWRITEBYTECODE=1 pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --require-hashes -r requirements.txt

COPY moh/ moh/
COPY tools/setup.sh tools/
COPY sip_server.py start.sh test_sip_client.py test_udp.py ./
# Convert the built-in piece, so that a new container plays at once. Run each program once: that proves that it starts,
# and stores the compiled modules, those of Python too. The user of the container cannot store them, and without them a
# start would take twice the time. Where the file .installed is, start.sh installs nothing. Last, make the files
# readable for any user, whatever the umask of the checkout was.
RUN MOH_CACHE=/app/moh/converted python3 -m moh.mastering.prepare \
    && python3 -m compileall -q moh && python3 -c 'import sip_server, test_sip_client' \
    && python3 -c 'import moh.http.__main__, moh.library.__main__, moh.radio.__main__' \
    && python3 test_udp.py --help >/dev/null \
    && touch .installed \
    && chmod -R a+rX .

# The server uses the compiled core only if it was made of the sources in moh/; otherwise a line of its log says so.
COPY --from=core /built/ compiled/

USER 5060:5060
ENV MOH_CACHE=/tmp/moh \
    COMPILED_CORE=/app/compiled \
    PYTHONUNBUFFERED=1
EXPOSE 5060/udp 5060/tcp 5061/tcp 8080/tcp 10000-10100/udp
# `docker compose up --wait` reports after 5 s that all is well, or after 10 s that it is not. While it is not known
# whether the music can be played, the check waits: up to 20 s more. Healthy means that music leaves the server.
HEALTHCHECK --interval=5s --timeout=30s --retries=2 \
    CMD ["python3", "test_udp.py", "--wait", "20", "--music"]
ENTRYPOINT ["./start.sh"]
