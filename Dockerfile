# One image, two programs: the operator (the default command) and the agent, which the operator's DaemonSet starts as node [flags] /app/agent.cjs.
# BASE must have node 24; what the agent runs is added where a Debian base has none of it: kmod (insmod, rmmod), kexec-tools (kexec), nsenter. Build dist/ first: node bundle.ts
ARG BASE=node:24-trixie-slim
FROM ${BASE}
USER root
RUN command -v insmod && command -v rmmod && command -v kexec && command -v nsenter || \
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends kmod kexec-tools util-linux && rm -rf /var/lib/apt/lists/*; }

ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="kernelpatch" \
      org.opencontainers.image.description="Closes kernel CVEs on each node of a Kubernetes cluster with the least disruptive fix that works" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --chmod=0644 dist/ /app/
USER 65532:65532
ENTRYPOINT []
CMD ["node", "/app/operator.cjs"]
