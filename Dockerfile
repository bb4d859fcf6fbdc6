# Magellan in a container: one image, three roles (mag learner | actor | planner).
#
#   docker build -t magellan .
#   docker build --build-arg BASE=mag-base:bookworm -t magellan .   # no image registry: deploy/base-image
#
# Plain Dockerfile syntax: the legacy builder of Docker 20.10 takes it as BuildKit does.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
COPY deploy/install deploy/packages /src/deploy/
RUN /src/deploy/install build
COPY CMakeLists.txt CMakePresets.json /src/
COPY cmake /src/cmake
COPY common /src/common
COPY proto /src/proto
COPY actor /src/actor
COPY learner /src/learner
COPY planner /src/planner
COPY mag /src/mag
WORKDIR /src
RUN cmake --preset release -DBUILD_TESTING=OFF \
    && cmake --build --preset release --target mag \
    && strip --strip-unneeded -o /usr/local/bin/mag build/release/mag/mag

FROM ${BASE}
LABEL org.opencontainers.image.title="Magellan" \
      org.opencontainers.image.description="Multi-agent reinforcement learning from learned world models" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY deploy/install deploy/packages /tmp/deploy/
# /runs and /keys belong to the user before USER is set, so that named volumes inherit it. No
# VOLUME: every actor and planner would leave an anonymous one behind.
RUN /tmp/deploy/install run \
    && rm -rf /tmp/deploy /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt \
    && useradd --system --uid 10001 --no-create-home --home-dir /runs mag \
    && mkdir -p /runs /keys \
    && chown 10001:10001 /runs /keys
COPY --from=build /usr/local/bin/mag /usr/local/bin/mag
USER 10001
WORKDIR /runs
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["mag", "healthcheck"]
ENTRYPOINT ["mag"]
CMD ["help"]
