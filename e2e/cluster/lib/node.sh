# shellcheck shell=bash
# What makes the host a node: containerd, the kubelet, kube-proxy and CoreDNS.

ctr_cluster() { ctr -a "$DAYFLY_CONTAINERD_SOCKET" -n k8s.io "$@" 9>&-; }

start_containerd() {
  render containerd.toml "$DAYFLY_STATE/config/containerd.toml"
  render cni.conflist "$DAYFLY_STATE/config/cni/10-dayfly.conflist"
  mkdir -p "$DAYFLY_STATE/run"
  # The daemons' shims call the CNI plugins and runc: they need a full PATH.
  start_daemon containerd containerd --config "$DAYFLY_STATE/config/containerd.toml" --log-level warn
}

image_loaded() { [ -n "$(ctr_cluster images ls -q "name==$1" 2>/dev/null)" ]; }

load_pause_image() {
  image_loaded "$PAUSE_IMAGE" || ctr_cluster images import "$(pause_tar)" >/dev/null
}

start_node() {
  local pki="$DAYFLY_STATE/pki" config="$DAYFLY_STATE/config"
  render kubelet.yaml "$config/kubelet.yaml"
  start_daemon kubelet "$DAYFLY_BIN/kubelet" --config="$config/kubelet.yaml" \
    --kubeconfig="$pki/kubelet.kubeconfig" --root-dir="$DAYFLY_STATE/kubelet" \
    --hostname-override="$DAYFLY_NODE_NAME" --node-ip="$DAYFLY_NODE_IP"
  render kube-proxy.yaml "$config/kube-proxy.yaml"
  start_daemon kube-proxy "$DAYFLY_BIN/kube-proxy" --config="$config/kube-proxy.yaml"
}

start_dns() {
  local corefile="$DAYFLY_STATE/config/Corefile"
  render Corefile "$corefile"
  # CoreDNS refuses to start when there is nobody to forward to.
  grep -q '^nameserver' /etc/resolv.conf 2>/dev/null || sed -i '/^ *forward /d' "$corefile"
  start_daemon coredns "$DAYFLY_BIN/coredns" -conf "$corefile"
  render dns.yaml "$DAYFLY_STATE/config/dns.yaml"
  kubectl apply -f "$DAYFLY_STATE/config/dns.yaml" >/dev/null
}

node_ready() {
  kubectl get node "$DAYFLY_NODE_NAME" --request-timeout=5s -o json | jq -e '
    (.spec.taints // []) == [] and
    any(.status.conditions[]; .type == "Ready" and .status == "True")'
}
dns_ready() { curl -fsS -m 2 http://127.0.0.1:8181/ready; }
# Through the Service address: it is kube-proxy that answers for it.
service_reachable() { curl -fsS -m 2 --cacert "$DAYFLY_STATE/pki/ca.crt" https://10.96.0.1/readyz; }
default_account_ready() { kubectl get serviceaccount default -n default --request-timeout=5s; }
