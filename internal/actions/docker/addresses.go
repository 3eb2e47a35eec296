package docker

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"

	"opsbot/internal/fault"
)

// Addresses returns where each running container of a service answers on a port
// of its own: host:port as it is published, else in the container's network.
// The color is blue or green; "" is both. A service of which nothing runs is an
// error of kind Conflict.
func (c *Conn) Addresses(ctx context.Context, service, color string, port int) ([]string, error) {
	list, err := c.boxes(ctx, service)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, b := range list {
		if !b.State.Running || color != "" && b.color != color {
			continue
		}
		if at := b.address(port); at != "" {
			addresses = append(addresses, at)
		}
	}
	if len(addresses) == 0 {
		return nil, fault.New(fault.Conflict, "No %s of %s runs.", strings.TrimSpace(color+" container"), service).Hinted("Start it first.")
	}
	return addresses, nil
}

// address is where a running container answers on a port of its own; "" if
// nowhere.
func (b box) address(port int) string {
	if b.NetworkSettings == nil {
		return ""
	}
	if list := b.NetworkSettings.Ports[nat.Port(strconv.Itoa(port)+"/tcp")]; len(list) > 0 {
		host := list[0].HostIP
		if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, list[0].HostPort)
	}
	for _, name := range slices.Sorted(maps.Keys(b.NetworkSettings.Networks)) {
		if ip := b.NetworkSettings.Networks[name].IPAddress; ip != "" {
			return net.JoinHostPort(ip, strconv.Itoa(port))
		}
	}
	return ""
}
