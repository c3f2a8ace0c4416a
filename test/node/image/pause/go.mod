module kernelpatch.dev/test/node/image/pause

go 1.26.0
