// Command etcd is etcd's own server, built from its module because no release binary can be downloaded where the tests run.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
