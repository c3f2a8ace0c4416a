# One image, three programs: the operator (the default command), the agent, which the operator's DaemonSet starts as node [flags] /app/agent.cjs, and the command kernelpatch.
# BASE must have node 24; what the agent runs is added where a Debian base has none of it: kmod (insmod, rmmod), kexec-tools (kexec), nsenter. Build dist/ first: node bundle.ts
ARG BASE=node:24-trixie-slim
# Where /usr/bin/oras is taken from when BASE has none: built here from the pinned modules, with Go's own image.
ARG GO=golang:1.26
ARG ORAS=oras-from-source
FROM ${GO} AS oras-from-source
COPY daemonset/registry/oras/ /src/
RUN cd /src && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -ldflags '-s -w -buildid=' -o /usr/bin/oras oras.land/oras/cmd/oras
FROM ${ORAS} AS oras

FROM ${BASE}
USER root
RUN command -v insmod && command -v rmmod && command -v kexec && command -v nsenter || \
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends kmod kexec-tools util-linux && rm -rf /var/lib/apt/lists/*; }

RUN --mount=type=bind,from=oras,source=/usr/bin,target=/mnt command -v oras || cp /mnt/oras /usr/bin/oras

ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="kernelpatch" \
      org.opencontainers.image.description="Closes kernel CVEs on each node of a Kubernetes cluster with the least disruptive fix that works" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --chmod=0644 dist/ /app/
COPY --chmod=0755 cli/kernelpatch /usr/bin/kernelpatch
USER 65532:65532
ENTRYPOINT []
CMD ["node", "/app/operator.cjs"]
