# shellcheck shell=bash
# etcd, the API server and the controllers, as processes of the host.

start_etcd() {
  # The data of a test cluster is worth no fsync; without it every write is faster.
  start_daemon etcd "$DAYFLY_BIN/etcd" --name node1 --data-dir "$DAYFLY_STATE/etcd" \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster node1=http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
}

start_apiserver() {
  local pki="$DAYFLY_STATE/pki"
  render audit-policy.yaml "$DAYFLY_STATE/config/audit-policy.yaml"
  # The issuer's keys are published under the issuer's own name, which pods resolve.
  start_daemon kube-apiserver "$DAYFLY_BIN/kube-apiserver" \
    --etcd-servers=http://127.0.0.1:2379 \
    --bind-address="$DAYFLY_NODE_IP" --advertise-address="$DAYFLY_NODE_IP" --secure-port="$DAYFLY_API_PORT" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --client-ca-file="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
    --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
    --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-preferred-address-types=InternalIP \
    --service-cluster-ip-range="$DAYFLY_SERVICE_CIDR" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-jwks-uri=https://kubernetes.default.svc/openid/v1/jwks \
    --service-account-key-file="$pki/service-account.pub" \
    --service-account-signing-key-file="$pki/service-account.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true \
    --audit-policy-file="$DAYFLY_STATE/config/audit-policy.yaml" \
    --audit-log-path="$DAYFLY_STATE/audit.log" --audit-log-maxsize=1024
}

# Only once the API server is ready: the controller-manager dies when its own
# RBAC rules are not there yet.
start_controllers() {
  local pki="$DAYFLY_STATE/pki" kubeconfig
  kubeconfig="$pki/kube-controller-manager.kubeconfig"
  start_daemon kube-controller-manager "$DAYFLY_BIN/kube-controller-manager" \
    --kubeconfig="$kubeconfig" --authentication-kubeconfig="$kubeconfig" \
    --authorization-kubeconfig="$kubeconfig" --bind-address=127.0.0.1 \
    --use-service-account-credentials --root-ca-file="$pki/ca.crt" \
    --service-account-private-key-file="$pki/service-account.key" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --kube-api-qps=200 --kube-api-burst=400 --leader-elect=false
  kubeconfig="$pki/kube-scheduler.kubeconfig"
  render kube-scheduler.yaml "$DAYFLY_STATE/config/kube-scheduler.yaml"
  start_daemon kube-scheduler "$DAYFLY_BIN/kube-scheduler" \
    --config="$DAYFLY_STATE/config/kube-scheduler.yaml" --authentication-kubeconfig="$kubeconfig" \
    --authorization-kubeconfig="$kubeconfig" --bind-address=127.0.0.1
}

api_ready() { kubectl get --raw /readyz --request-timeout=5s; }
