# syntax=docker/dockerfile:1

# The exporter as a static binary in an image with nothing else but CA certificates.
#
#   docker build -t amazing-gitlab-exporter .
#   docker buildx build --platform linux/amd64,linux/arm64 .
#   docker build --target binary --output dist .      # the binary alone
#   docker build --target simulator -t gitlab-simulator .

ARG RUST_VERSION=1.95.0

# The compiler runs on the builder's own platform and compiles for the target's: no emulation.
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-bookworm AS toolchain
ARG BUILDARCH
ARG TARGETARCH
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Debian's versions move with its security updates.
# hadolint ignore=DL3008
RUN packages=(ca-certificates make); \
    case "$TARGETARCH" in \
      amd64) triple=x86_64-unknown-linux-gnu gnu=x86-64-linux-gnu ;; \
      arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu ;; \
      *) echo "no build for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    if [[ "$TARGETARCH" != "$BUILDARCH" ]]; then packages+=("gcc-$gnu" "libc6-dev-$TARGETARCH-cross"); fi; \
    apt-get update; \
    apt-get install -y --no-install-recommends "${packages[@]}"; \
    rm -rf /var/lib/apt/lists/*; \
    rustup target add "$triple"; \
    echo "$triple" >/triple; \
    host=$(rustc -vV | sed -n 's/^host: //p'); \
    ln -s "$(rustc --print sysroot)/lib/rustlib/$host/bin/gcc-ld" /lld
# What a build for the other architecture links and compiles C with; unused for the own one. Rust's own linker
# folds identical functions, without which the image would be over its limit.
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CC_x86_64_unknown_linux_gnu=x86_64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs \
        -C link-arg=-B/lld -C link-arg=-fuse-ld=lld -C link-arg=-Wl,--icf=all"
WORKDIR /build

# Cargo's files, and an empty crate wherever they name a source.
FROM toolchain AS manifests
COPY Cargo.toml Cargo.lock ./
COPY examples/demo/Cargo.toml examples/demo/
COPY grafana/Cargo.toml grafana/
COPY tests/simulator/Cargo.toml tests/simulator/
RUN for file in src/main.rs grafana/src/main.rs tests/simulator/src/main.rs tests/integration/main.rs \
        examples/demo/src/main.rs benches/figures/main.rs; do \
      mkdir -p "${file%/*}"; echo 'fn main() {}' >"$file"; \
    done; \
    touch src/lib.rs grafana/src/lib.rs tests/simulator/src/lib.rs

# Every dependency, compiled behind the empty crates: these layers last until Cargo's files change.
FROM manifests AS dependencies
RUN cargo build --locked --profile dist --target "$(cat /triple)" --bin amazing-gitlab-exporter

FROM manifests AS simulator-dependencies
RUN cargo build --locked --release --target "$(cat /triple)" --package gitlab-simulator

FROM dependencies AS build
COPY src src
COPY README.md LICENSE ./
# What --version names.
ARG REVISION=""
ARG SOURCE_DATE_EPOCH=""
# Newer than the empty crates, whatever the times of the copied files are.
RUN find src -name '*.rs' -exec touch {} +; \
    BUILD_COMMIT="$REVISION" cargo build --locked --profile dist --target "$(cat /triple)" --bin amazing-gitlab-exporter; \
    mkdir -p /out/root/var/lib/amazing-gitlab-exporter; \
    chown 65532:65532 /out/root/var/lib/amazing-gitlab-exporter; \
    cp "target/$(cat /triple)/dist/amazing-gitlab-exporter" /out/

# It knows nothing of the exporter, whose sources it is not built anew for.
FROM simulator-dependencies AS build-simulator
COPY tests/simulator/src tests/simulator/src
RUN find tests/simulator/src -name '*.rs' -exec touch {} +; \
    cargo build --locked --release --target "$(cat /triple)" --package gitlab-simulator; \
    cp "target/$(cat /triple)/release/gitlab-simulator" /gitlab-simulator

# A simulated GitLab for the demo. It holds no secret: its token is public.
FROM scratch AS simulator
COPY --from=build-simulator /gitlab-simulator /gitlab-simulator
USER 65532:65532
EXPOSE 8929
ENTRYPOINT ["/gitlab-simulator"]
CMD ["--listen", "0.0.0.0:8929"]

FROM scratch AS binary
COPY --from=build /out/amazing-gitlab-exporter /

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="amazing-gitlab-exporter" \
      org.opencontainers.image.description="Exports GitLab pipelines, jobs, merge requests, deployments and DORA figures as Prometheus and OpenTelemetry metrics" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
# The certificate authorities that GitLab's and receivers' certificates are held against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# /var/lib/amazing-gitlab-exporter, which belongs to the user below, and so does a volume there. Not by
# --chown: that would give /var and /var/lib away, too. Nothing else is ever written to.
COPY --from=build /out/root /
COPY --from=build /out/amazing-gitlab-exporter /amazing-gitlab-exporter
USER 65532:65532
EXPOSE 8080
# It learns the port as `run` does, from AGE_CONFIG and AGE_SERVER_LISTEN_ADDRESS: set those rather
# than flags of `run`.
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s --retries=3 \
    CMD ["/amazing-gitlab-exporter", "healthcheck"]
ENTRYPOINT ["/amazing-gitlab-exporter"]
CMD ["run"]
