# Builds one static binary and ships it with CA certificates and zone data,
# nothing else. BUILD_IMAGE can be any image with Go and CA certificates, so
# that it builds where no registry is reachable.
#
#   docker build -t opsbot .
#   docker build -t opsbot:with-compose --target with-compose .   for compose.* actions
ARG BUILD_IMAGE=golang:1.26-bookworm

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/opsbot ./cmd/opsbot \
 && mkdir -p /out/data \
 && cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /out/zoneinfo.zip

# The Compose plugin from its module; it works without the docker command.
FROM ${BUILD_IMAGE} AS compose
COPY .ci/compose /src/.ci/compose
RUN /src/.ci/compose --into /out

FROM scratch AS plain
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/zoneinfo.zip /usr/share/zoneinfo.zip
COPY --from=build /out/opsbot /opsbot
COPY --from=build --chown=65532:65532 /out/data /data
ENV ZONEINFO=/usr/share/zoneinfo.zip \
    OPSBOT_DATABASE=sqlite:/data/opsbot.db \
    OPSBOT_HTTP_ADDR=0.0.0.0:8080
# No action touches a container with this label.
LABEL opsbot.self=true
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/opsbot", "healthcheck"]
ENTRYPOINT ["/opsbot"]
CMD ["serve", "--config", "/etc/opsbot/opsbot.yaml"]

FROM plain AS with-compose
COPY --from=compose /out/docker-compose /usr/bin/docker-compose
ENV PATH=/usr/bin HOME=/data

# The last stage is the one that is built without --target.
FROM plain
