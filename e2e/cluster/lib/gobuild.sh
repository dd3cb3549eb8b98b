# shellcheck shell=bash
# Builds one Go module of modules/ into the cache, once per set of inputs.

K8S_VERSION=1.34.4

# Without these the kubelet reports v0.0.0, and version skew checks refuse it.
kubernetes_ldflags() {
  local v=k8s.io/component-base/version
  printf -- '-X %s.gitVersion=v%s -X %s.gitMajor=1 -X %s.gitMinor=34' "$v" "$K8S_VERSION" "$v" "$v"
}

# Without these `helm template` and `helm lint` take a chart for one of Kubernetes 1.20.
helm_ldflags() {
  local v=helm.sh/helm/v3 version
  version="$(cd "$DAYFLY_CLUSTER_DIR/modules/helm" && go mod edit -json |
    jq -r '.Require[] | select(.Path == "helm.sh/helm/v3").Version')"
  printf -- '-X %s/internal/version.version=%s' "$v" "$version"
  printf -- ' -X %s/pkg/chartutil.k8sVersionMajor=1 -X %s/pkg/chartutil.k8sVersionMinor=34' "$v" "$v"
  printf -- ' -X %s/pkg/lint/rules.k8sVersionMajor=1 -X %s/pkg/lint/rules.k8sVersionMinor=34' "$v" "$v"
}

# The packages of a group are the `tool` lines of its go.mod.
group_packages() { # group
  (cd "$DAYFLY_CLUSTER_DIR/modules/$1" && go mod edit -json | jq -r '.Tool[].Path')
}

group_ldflags() { # group
  printf -- '-s -w'
  case "$1" in
    kubernetes) printf ' %s' "$(kubernetes_ldflags)" ;;
    helm) printf ' %s' "$(helm_ldflags)" ;;
  esac
}

# kubectl alone is a group of its own for an existing cluster; same module.
group_module() { if [ "$1" = kubectl ]; then echo kubernetes; else echo "$1"; fi; }

group_dir() { # group, packages...
  local group="$1" module key
  shift
  module="$DAYFLY_CLUSTER_DIR/modules/$(group_module "$group")"
  key="$({
    cat "$module/go.mod" "$module/go.sum"
    group_ldflags "$(group_module "$group")"
    printf '\n%s\n' CGO_ENABLED=0 -trimpath "$@"
    (cd "$module" && go version)
  } | sha256_of_stdin)"
  echo "$DAYFLY_CLUSTER_CACHE/$group-$key"
}

# build_group GROUP HINT [PACKAGE...]: prints nothing but progress; the directory
# is left in GROUP_DIR. The marker `.complete` is written last, so that an
# interrupted build is never taken for a finished one.
build_group() {
  local group="$1" hint="$2" module start names p
  shift 2
  module="$(group_module "$group")"
  local packages=("$@")
  [ "${#packages[@]}" -gt 0 ] || mapfile -t packages < <(group_packages "$module")
  GROUP_DIR="$(group_dir "$group" "${packages[@]}")"
  if [ -e "$GROUP_DIR/.complete" ]; then return 0; fi

  names=""
  for p in "${packages[@]}"; do names+="${names:+, }$(binary_name "$p")"; done
  log "building $names ($hint, first time only)"
  start=$SECONDS
  mkdir -p "$GROUP_DIR"
  (
    cd "$DAYFLY_CLUSTER_DIR/modules/$module"
    # The flags of whoever calls this must not change what is built.
    CGO_ENABLED=0 GOWORK=off GOFLAGS=-buildvcs=false nice -n 10 go build -trimpath -ldflags "$(group_ldflags "$module")" \
      -o "$GROUP_DIR/" "${packages[@]}" 9>&-
  ) || die "go build of $group failed (module e2e/cluster/modules/$module)"
  # go names a binary after the last element of its path that is no version.
  if [ -e "$GROUP_DIR/server" ]; then mv "$GROUP_DIR/server" "$GROUP_DIR/etcd"; fi
  touch "$GROUP_DIR/.complete"
  log "built $names in $((SECONDS - start)) s"
}

binary_name() { # package path
  case "$1" in
    */etcd/server/v3) echo etcd ;;
    *) basename "$1" ;;
  esac
}

# Links replace each other atomically: a test that runs meanwhile always finds one.
link_binaries() { # from-dir, to-dir, name...
  local from="$1" to="$2" n
  shift 2
  mkdir -p "$to"
  for n in "$@"; do
    [ -x "$from/$n" ] || die "$from/$n is missing; delete $from and build again"
    ln -s "$from/$n" "$to/.$n.$$"
    mv -T "$to/.$n.$$" "$to/$n"
  done
}
