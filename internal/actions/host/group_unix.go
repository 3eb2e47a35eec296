//go:build unix

package host

import (
	"os/exec"
	"syscall"
)

// group puts a command and its children into a process group of their own, all
// of which is asked to end when its context ends. The function that it returns
// ends what is left of it.
func group(cmd *exec.Cmd) func() {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}
}
