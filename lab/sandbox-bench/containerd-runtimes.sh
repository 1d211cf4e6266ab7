#!/bin/sh
# Prints the runtimes file for `bulkhead bench`: each runtime behind ctr and
# behind nerdctl. Usage: containerd-runtimes.sh DIR
. "$(dirname -- "$0")/common.sh"

[ $# = 1 ] || die "usage: containerd-runtimes.sh DIR"
dir=$1

# absent NAME PROGRAM: a row that says so.
absent() {
    cat <<YAML
  - name: $client-$1
    title: $1 ($client)
    wall: $wall
    command: [$2]
    when-missing: "install it, then this lab measures it"
YAML
}

echo "runtimes:"
for client in ctr nerdctl; do
    for name in runc crun runsc bulkhead bulkhead-vm kata; do
        case $name in
        runc | crun) wall="none (namespaces, cgroups)" ;;
        bulkhead-vm | kata) wall=micro-VM ;;
        *) wall="userspace kernel" ;;
        esac
        if [ $name = kata ]; then # a shim of its own
            command -v containerd-shim-kata-v2 >/dev/null || { absent $name containerd-shim-kata-v2; continue; }
            ctr_runtime="io.containerd.kata.v2" nerdctl_runtime="io.containerd.kata.v2"
        else
            [ -e "$dir/bin/$name" ] || { absent $name "$dir/bin/$name"; continue; }
            ctr_runtime="io.containerd.runc.v2, --runc-binary, $dir/bin/$name" nerdctl_runtime="$dir/bin/$name"
        fi
        echo "  - name: $client-$name"
        echo "    title: $name ($client)"
        echo "    wall: $wall"
        [ $name != bulkhead-vm ] || echo "    time-share: {quick: 0.2, full: 0.2} # software emulation, where KVM runs no guests"
        if [ $client = ctr ]; then
            run="--runtime, $ctr_runtime, --read-only, '{mounts}', '{env}', '{image}', '{id}', '{argv}'"
            cat <<YAML
    command: [ctr, --address, $dir/containerd.sock, --namespace, lab]
    version: [--version]
    client:
      run: [run, --rm, $run]
      detach: [run, -d, $run]
      exec: [task, exec, --exec-id, bench, '{id}', '{argv}']
      kill: [task, rm, -f, '{id}']
      delete: [container, rm, '{id}']
      mount: [--mount, 'type=bind,src={src},dst={dst},options=rbind:{mode}']
      tmpfs: [--mount, 'type=tmpfs,src=tmpfs,dst={dst},options=nosuid:nodev']
      env: [--env, '{env}']
YAML
        else
            run="--runtime, $nerdctl_runtime, --net, none, --read-only, '{mounts}', '{env}', --name, '{id}', '{image}', '{argv}'"
            cat <<YAML
    command: [nerdctl, --address, $dir/containerd.sock, --namespace, lab, --data-root, $dir/nerdctl, --cgroup-manager, cgroupfs]
    version: [--version]
    client:
      run: [run, --rm, $run]
      detach: [run, -d, $run]
      exec: [exec, '{id}', '{argv}']
      kill: [rm, -f, '{id}'] # of a runsc container the first only ends it, without saying so
      delete: [rm, -f, '{id}']
      mount: [-v, '{src}:{dst}:{mode}']
      tmpfs: [--tmpfs, '{dst}']
      env: [-e, '{env}']
YAML
        fi
    done
done
