package patient

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel end the program when this one is gone, however
// it went. It has a process group of its own, so that an interrupt typed at
// the terminal reaches it through Close only.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
