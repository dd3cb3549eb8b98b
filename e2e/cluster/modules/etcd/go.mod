module dayfly.dev/e2e/cluster/etcd

go 1.26

tool (
	github.com/containernetworking/plugins/plugins/ipam/host-local
	github.com/containernetworking/plugins/plugins/main/bridge
	github.com/containernetworking/plugins/plugins/main/loopback
	github.com/containernetworking/plugins/plugins/meta/portmap
	go.etcd.io/etcd/server/v3
)

require (
	github.com/containernetworking/plugins v1.9.1
	go.etcd.io/etcd/server/v3 v3.6.8
)
