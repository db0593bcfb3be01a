# The image of coc-exporter: Python, the exporter, the libraries that both load, and nothing else.
#
#   docker build -t coc-exporter .                  no shell inside
#   docker build -t coc-exporter --target=slim .    the same with a shell and a few commands, to look around
#
# The base is any image of Debian or Ubuntu with python3 (at least 3.11) and its venv module. The tag is exact; the
# release resolves it to its digest and builds with --build-arg=BASE_IMAGE=<name>:<tag>@sha256:<digest>, so that what
# was released can be built again from the same bytes.
ARG BASE_IMAGE=docker.io/library/python:3.13.9-slim-bookworm


# Everything that needs an installer or a network happens here, and none of it is kept but /opt/coc-exporter.
FROM ${BASE_IMAGE} AS build

WORKDIR /src
COPY requirements.lock requirements-dev.lock ./

# Two environments: pip lives in the first and works on the second. The backend that builds the wheel is pinned by hash
# like everything else: what it needs and is not named here makes pip refuse.
RUN python3 -m venv /build \
 && python3 -m venv --without-pip /opt/coc-exporter \
 && awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' \
      requirements-dev.lock > backend.lock \
 && /build/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: \
      --require-hashes --requirement=backend.lock \
 && /build/bin/python -m pip --python=/opt/coc-exporter/bin/python install --no-cache-dir \
      --disable-pip-version-check --no-compile --only-binary=:all: --require-hashes --requirement=requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY exporter ./exporter

RUN /build/bin/python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation \
      --no-index --wheel-dir=/wheel . \
 && /build/bin/python -m pip --python=/opt/coc-exporter/bin/python install --no-cache-dir \
      --disable-pip-version-check --no-compile --no-deps --no-index /wheel/*.whl \
 && rm -f /opt/coc-exporter/bin/activate* /opt/coc-exporter/bin/Activate.ps1


# The root of the image, gathered below /rootfs.
FROM build AS rootfs

# The interpreter and its library, without what only developers and installers use. Bytecode is checked by nothing: the
# same bytes come out of every build, and nobody can change the sources on a file system that is read-only.
RUN python="$(/opt/coc-exporter/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))')" \
 && stdlib="$(/opt/coc-exporter/bin/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && mkdir -p /rootfs/opt "/rootfs$(dirname "$python")" "/rootfs$stdlib" \
 && cp -a /opt/coc-exporter /rootfs/opt/ \
 && ln -sf "$python" /rootfs/opt/coc-exporter/bin/python3 \
 && cp -a "$python" "/rootfs$python" \
 && cp -a "$stdlib/." "/rootfs$stdlib/" \
 && find "/rootfs$stdlib" -maxdepth 2 -regextype posix-extended -regex ".*/(config-[^/]*|(dist|site)-packages|distutils\
|ensurepip|idlelib|lib2to3|pydoc_data|tests?|tkinter|turtle[.]py|turtledemo|venv|lib-dynload/(_ctypes_test|_curses|_dbm\
|_gdbm|_test|_tkinter|_xxtestfuzz|nis|ossaudiodev|readline|xx)[^/]*)" -prune -exec rm -rf {} + \
 && find "/rootfs$stdlib" -name __pycache__ -prune -exec rm -rf {} + \
 && find "/rootfs$stdlib" -xtype l -delete \
 && /opt/coc-exporter/bin/python -m compileall -q --invalidation-mode=unchecked-hash -s /rootfs -p / \
      "/rootfs$stdlib" /rootfs/opt/coc-exporter/lib \
 && find "/rootfs$python" -fprint /tmp/programs \
 && find /rootfs -type f -name '*.so*' -fprint /tmp/extensions

# The libraries that these load. Nobody names libgcc_s, and yet it is loaded when a thread ends.
RUN xargs ldd < /tmp/programs > /tmp/needed \
 && xargs ldd < /tmp/extensions >> /tmp/needed \
 && echo "libgcc_s.so.1 => $(find /lib/ /usr/lib/ -name libgcc_s.so.1 -print -quit)" >> /tmp/needed \
 && awk '/not found/ { print; missing = 1 } END { exit missing }' /tmp/needed \
 && awk '$3 ~ "^/" { print $3 } $1 ~ "^/" && $2 ~ "^[(]" { print $1 }' /tmp/needed > /tmp/paths \
 && sort -u /tmp/paths -o /tmp/paths \
 && for link in /lib /lib64; do if [ -L "$link" ]; then cp -P "$link" "/rootfs$link"; fi; done \
 && while read -r library; do \
      case "$library" in /rootfs/*) continue ;; esac; \
      folder="$(realpath "$(dirname "$library")")"; \
      mkdir -p "/rootfs$folder"; \
      cp -L "$library" "/rootfs$folder/"; \
      echo "$folder/$(basename "$library")"; \
    done < /tmp/paths > /tmp/libraries \
 && mkdir -p /rootfs/etc \
 && cp -a /etc/ld.so.conf /etc/ld.so.conf.d /rootfs/etc/ \
 && ldconfig -r /rootfs \
 && rm -rf /rootfs/var/cache

# What programs look up; the one user; and which packages the files are from, where scanners for vulnerabilities look.
RUN mkdir -p /rootfs/etc/ssl/certs /rootfs/etc/coc-exporter /rootfs/var/lib/dpkg/status.d /rootfs/dev /rootfs/proc \
      /rootfs/sys /rootfs/tmp \
 && chmod 1777 /rootfs/tmp \
 && cp -L /etc/os-release /rootfs/etc/os-release \
 && cp -L /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ \
 && echo 'hosts: files dns' > /rootfs/etc/nsswitch.conf \
 && printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' \
      > /rootfs/etc/passwd \
 && printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' > /rootfs/etc/group \
 && { sed 's,^/rootfs,,' /tmp/programs; cat /tmp/libraries; } > /tmp/files \
 && while read -r file; do \
      dpkg-query --search "$file" || dpkg-query --search "${file#/usr}" || true; \
    done < /tmp/files > /tmp/owners 2> /dev/null \
 && printf '%s\n' base-files: ca-certificates: >> /tmp/owners \
 && cut -d: -f1 /tmp/owners > /tmp/packages \
 && sort -u /tmp/packages -o /tmp/packages \
 && while read -r package; do \
      dpkg-query --status "$package" > "/rootfs/var/lib/dpkg/status.d/$package"; \
    done < /tmp/packages \
 && find /rootfs -exec touch -h -d @0 {} +


# A shell and a few commands, with the libraries that they alone load.
FROM rootfs AS shell

RUN mkdir -p /shell/usr/bin \
 && if [ -L /bin ]; then cp -P /bin /shell/; fi \
 && for name in cat date df env grep head id ls sh sleep stat tail; do \
      program="$(realpath "$(command -v "$name")")"; \
      cp -L "$program" "/shell/usr/bin/$name"; \
      ldd "$program"; \
    done > /tmp/needed \
 && awk '$3 ~ "^/" { print $3 }' /tmp/needed > /tmp/paths \
 && sort -u /tmp/paths -o /tmp/paths \
 && while read -r library; do \
      folder="$(realpath "$(dirname "$library")")"; \
      if [ ! -e "/rootfs$folder/$(basename "$library")" ]; then \
        mkdir -p "/shell$folder"; \
        cp -L "$library" "/shell$folder/"; \
      fi; \
    done < /tmp/paths \
 && find /shell -exec touch -h -d @0 {} +


FROM scratch AS distroless

ARG VERSION=""
ARG REVISION=""
ARG CREATED=""
ARG SOURCE=https://github.com/coc-exporter/coc-exporter

LABEL org.opencontainers.image.title="coc-exporter" \
      org.opencontainers.image.description="Prometheus exporter for Huawei Cloud COC script tickets" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.url="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The coc-exporter authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

COPY --from=rootfs /rootfs /

ENV PATH=/opt/coc-exporter/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# A number, so that a cluster can see that it is not root without looking into the image.
USER 65532:65532
WORKDIR /etc/coc-exporter
EXPOSE 10262

# The build ends here when a library is missing. Nothing is written: neither a layer nor bytecode.
RUN ["coc-exporter", "--version"]

ENTRYPOINT ["coc-exporter"]
CMD ["--config.file=/etc/coc-exporter/config.yaml"]


FROM distroless AS slim

COPY --from=shell /shell /


# The last stage is what is built when none is named.
FROM distroless
