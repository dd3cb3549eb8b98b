# shellcheck shell=bash
# The pod network: a bridge whose address is the node's address.

RULE_COMMENT=dayfly-cluster

ensure_network() {
  # Built into some kernels, a module in others: what counts is the sysctl below.
  modprobe -a overlay br_netfilter 2>/dev/null || true
  ip link show "$DAYFLY_BRIDGE" >/dev/null 2>&1 || ip link add "$DAYFLY_BRIDGE" type bridge
  ip addr replace "$DAYFLY_NODE_IP/24" dev "$DAYFLY_BRIDGE"
  ip link set "$DAYFLY_BRIDGE" up
  # A host without a default route could not even try a Service address; with
  # this route, it goes out with the node's own address.
  ip route replace "$DAYFLY_SERVICE_CIDR" dev "$DAYFLY_BRIDGE" src "$DAYFLY_NODE_IP"
  echo 1 >/proc/sys/net/ipv4/ip_forward
  [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ||
    die "the kernel has no br_netfilter: pods could not reach Services on the same bridge"
  echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
  local rule
  while read -r rule; do
    # shellcheck disable=SC2086 # a rule is many words
    iptables -w -C $rule 2>/dev/null || iptables -w -A $rule
  done < <(network_rules)
}

# One rule for all pods in place of the bridge plugin's chain per pod: several
# runs of iptables fewer for each pod that starts. FORWARD, because a container
# engine on the same machine sets its policy to DROP.
network_rules() {
  local c="-m comment --comment $RULE_COMMENT"
  echo "POSTROUTING -t nat -s $DAYFLY_POD_CIDR ! -o $DAYFLY_BRIDGE $c -j MASQUERADE"
  echo "FORWARD -i $DAYFLY_BRIDGE $c -j ACCEPT"
  echo "FORWARD -o $DAYFLY_BRIDGE $c -j ACCEPT"
}

remove_network() {
  local link rule
  if ip link show "$DAYFLY_BRIDGE" >/dev/null 2>&1; then
    for link in $(ip -o link show master "$DAYFLY_BRIDGE" | awk -F'[ :@]+' '{print $2}'); do
      ip link del "$link" 2>/dev/null || true
    done
    ip link del "$DAYFLY_BRIDGE"
  fi
  command -v iptables >/dev/null || return 0
  while read -r rule; do
    # shellcheck disable=SC2086
    while iptables -w -D $rule 2>/dev/null; do :; done
  done < <(network_rules)
  local table
  for table in nat filter mangle; do remove_chains "$table"; done
}

# kube-proxy removes its own chains; the kubelet's and the CNI plugins' stay.
remove_chains() { # table
  local pattern='^(KUBE-|CNI-)' rules chain
  rules="$(iptables-save -t "$1" 2>/dev/null)" || return 0
  local chains
  chains="$(sed -n 's/^:\([^ ]*\) .*/\1/p' <<<"$rules" | grep -E "$pattern" || true)"
  [ -n "$chains" ] || return 0
  # One transaction: the jumps first, then the chains, emptied before any is deleted.
  {
    echo "*$1"
    grep -E '^-A ' <<<"$rules" | grep -E -- '-j (KUBE-|CNI-)' | grep -Ev '^-A (KUBE-|CNI-)' | sed 's/^-A/-D/' || true
    for chain in $chains; do echo "-F $chain"; done
    for chain in $chains; do echo "-X $chain"; done
    echo COMMIT
  } | iptables-restore -w -n
}
