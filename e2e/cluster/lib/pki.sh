# shellcheck shell=bash
# One certificate authority, a certificate and a kubeconfig per component.
# Elliptic keys because they take no time; the service-account key is RSA, as in
# most real clusters, so that what verifies tokens meets what it will meet there.

PKI_DAYS=3650

new_ca() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$PKI_DAYS" \
    -subj "/CN=dayfly-cluster" -keyout "$PKI/ca.key" -out "$PKI/ca.crt" 2>/dev/null
}

new_cert() { # file name, subject, [subject alternative names]
  local extensions="basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth,clientAuth"
  [ -z "${3:-}" ] || extensions+="
subjectAltName=$3"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" \
    -keyout "$PKI/$1.key" 2>/dev/null |
    openssl x509 -req -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days "$PKI_DAYS" \
      -set_serial "0x$(openssl rand -hex 8)" -extfile <(echo "$extensions") -out "$PKI/$1.crt" 2>/dev/null
}

new_kubeconfig() { # certificate name, output file
  local server="https://$DAYFLY_NODE_IP:$DAYFLY_API_PORT"
  cat >"$2.part" <<EOF
apiVersion: v1
kind: Config
clusters:
  - name: dayfly-cluster
    cluster:
      server: $server
      certificate-authority-data: $(base64 -w0 <"$PKI/ca.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 <"$PKI/$1.crt")
      client-key-data: $(base64 -w0 <"$PKI/$1.key")
contexts:
  - name: dayfly-cluster
    context: {cluster: dayfly-cluster, user: $1}
current-context: dayfly-cluster
EOF
  chmod 600 "$2.part"
  mv "$2.part" "$2"
}

ensure_pki() {
  PKI="$DAYFLY_STATE/pki"
  [ -e "$PKI/.complete" ] && return 0
  (umask 077 && mkdir -p "$PKI")
  local names="DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  names+=",DNS:kubernetes.default.svc.cluster.local,DNS:localhost"
  names+=",IP:127.0.0.1,IP:10.96.0.1,IP:$DAYFLY_NODE_IP"
  new_ca
  new_cert apiserver /CN=kube-apiserver "$names"
  new_cert kubelet-server "/CN=$DAYFLY_NODE_NAME" "DNS:$DAYFLY_NODE_NAME,IP:$DAYFLY_NODE_IP"
  new_cert apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  new_cert admin /O=system:masters/CN=admin
  new_cert kube-controller-manager /CN=system:kube-controller-manager
  new_cert kube-scheduler /CN=system:kube-scheduler
  new_cert kubelet "/O=system:nodes/CN=system:node:$DAYFLY_NODE_NAME"
  new_cert kube-proxy /CN=system:kube-proxy
  new_cert coredns /CN=system:coredns
  openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null
  openssl rsa -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub" 2>/dev/null
  local component
  for component in kube-controller-manager kube-scheduler kubelet kube-proxy coredns; do
    new_kubeconfig "$component" "$PKI/$component.kubeconfig"
  done
  new_kubeconfig admin "$DAYFLY_STATE/admin.kubeconfig"
  touch "$PKI/.complete"
}
