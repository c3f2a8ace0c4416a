// Command pause holds a pod's namespaces and ends when it is told to: what the sandbox image of containerd's CRI plugin runs.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
