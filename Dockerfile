# The three images of Dayfly, one target each:
#
#   docker buildx build --target operator -t dayfly/operator .
#
# Ready binaries take the place of the build stage (which then is never built):
#
#   docker buildx build --build-context build=DIR --target operator .
#
# where DIR holds out/dayfly-operator, out/dayfly-agent and out/dayfly-pool,
# statically linked.

ARG RUST=docker.io/library/rust:1.95-alpine
ARG BASE=docker.io/library/debian:bookworm-slim

# Alpine's Rust links statically by default: one binary serves every base image,
# also a job image that has nothing of ours but the agent.
FROM ${RUST} AS build
RUN apk add --no-cache build-base cmake perl
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin dayfly-operator --bin dayfly-agent --bin dayfly-pool \
    && mkdir -p /out \
    && cp target/release/dayfly-operator target/release/dayfly-agent target/release/dayfly-pool /out/

# In every stage the binary comes last, so that a new one costs one small layer.
# The RUN steps install only what the base lacks: a base that has it all needs no
# network.

FROM ${BASE} AS operator
RUN test -e /etc/ssl/certs/ca-certificates.crt \
    || { apt-get update -q && apt-get install -q -y --no-install-recommends ca-certificates \
        && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log; }
LABEL org.opencontainers.image.title="dayfly-operator" \
      org.opencontainers.image.description="Runs Azure Pipelines agents as Kubernetes pods" \
      org.opencontainers.image.source="https://github.com/dayfly-dev/dayfly" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/dayfly-operator"]
COPY --from=build --chown=0:0 --chmod=0755 /out/dayfly-operator /usr/local/bin/dayfly-operator

# The agent, and the image that jobs run in unless a template names another:
# git and git-lfs check out sources, bash and curl are what scripts expect.
FROM ${BASE} AS agent
RUN { command -v git && command -v git-lfs && command -v curl && test -e /etc/ssl/certs/ca-certificates.crt; } >/dev/null \
    || { apt-get update -q && apt-get install -q -y --no-install-recommends bash ca-certificates curl git git-lfs \
        && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log; }
RUN mkdir -p /work && chown 10001:10001 /work
LABEL org.opencontainers.image.title="dayfly-agent" \
      org.opencontainers.image.description="Runs one Azure Pipelines job in a pod" \
      org.opencontainers.image.source="https://github.com/dayfly-dev/dayfly" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/dayfly-agent"]
COPY --from=build --chown=0:0 --chmod=0755 /out/dayfly-agent /usr/local/bin/dayfly-agent

# The pool service; git serves repositories with `git http-backend`.
FROM ${BASE} AS pool
RUN { command -v git && test -e /etc/ssl/certs/ca-certificates.crt; } >/dev/null \
    || { apt-get update -q && apt-get install -q -y --no-install-recommends ca-certificates git \
        && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log; }
LABEL org.opencontainers.image.title="dayfly-pool" \
      org.opencontainers.image.description="A pipeline service that Dayfly's agents can work for" \
      org.opencontainers.image.source="https://github.com/dayfly-dev/dayfly" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/dayfly-pool"]
COPY --from=build --chown=0:0 --chmod=0755 /out/dayfly-pool /usr/local/bin/dayfly-pool
