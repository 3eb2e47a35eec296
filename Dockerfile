# Builds one static binary and ships it with CA certificates and zone data,
# nothing else. BUILD_IMAGE can be any image with Go and CA certificates, so
# that it builds where no registry is reachable.
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

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/zoneinfo.zip /usr/share/zoneinfo.zip
COPY --from=build /out/opsbot /opsbot
COPY --from=build --chown=65532:65532 /out/data /data
ENV ZONEINFO=/usr/share/zoneinfo.zip \
    OPSBOT_DATABASE=sqlite:/data/opsbot.db \
    OPSBOT_HTTP_ADDR=0.0.0.0:8080
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/opsbot", "healthcheck"]
ENTRYPOINT ["/opsbot"]
CMD ["serve", "--config", "/etc/opsbot/opsbot.yaml"]
