package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"opsbot/internal/fault"
)

func newHealthcheck(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the opsbot of this machine whether it is ready; for containers",
		Args:  args(cobra.NoArgs, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			if cfg.HTTP.Addr == "" {
				return usage("nothing serves health: set http.addr or OPSBOT_HTTP_ADDR")
			}
			return healthcheck(cmd.Context(), c.std, cfg.HTTP.Addr)
		},
	}
}

func healthcheck(ctx context.Context, std Streams, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usage("%s is not host:port", addr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return usage("%s is no address: %v", addr, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "Nothing answers on %s.", addr).Hinted("Is opsbot serving?").Because(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(std.Out, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return fmt.Errorf("read what %s answers: %w", addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return exit{code: exitFailed}
	}
	return nil
}
