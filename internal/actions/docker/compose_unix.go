//go:build unix

package docker

import (
	"os/exec"
	"syscall"
)

// endWithChildren lets the end of the command's context kill its whole process
// group: a plugin is a child of the docker command, and outlives it otherwise.
func endWithChildren(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
