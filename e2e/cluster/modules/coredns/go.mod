module dayfly.dev/e2e/cluster/coredns

go 1.26

tool github.com/coredns/coredns

require github.com/coredns/coredns v1.14.7
