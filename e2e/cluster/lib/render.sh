# shellcheck shell=bash
# Fills @NAME@ in a file of config/ from the variables of env.sh.

render() { # file of config/, output file
  local script="" name
  for name in DAYFLY_STATE DAYFLY_CNI_BIN DAYFLY_CONTAINERD_SOCKET DAYFLY_NODE_NAME DAYFLY_NODE_IP \
    DAYFLY_POD_CIDR DAYFLY_SERVICE_CIDR DAYFLY_DNS_IP DAYFLY_BRIDGE PAUSE_IMAGE; do
    script+="s|@$name@|${!name}|g;"
  done
  mkdir -p "$(dirname "$2")"
  sed "$script" "$DAYFLY_CLUSTER_DIR/config/$1" >"$2.new"
  # kube-proxy ends when its file is written, even with what it held before.
  if cmp -s "$2.new" "$2"; then rm "$2.new"; else mv "$2.new" "$2"; fi
}
