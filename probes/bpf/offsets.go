package bpf

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf/btf"
)

// offsets is where this kernel keeps what the programs read, in bytes, named as "struct.member".
type offsets map[string]int32

// members of every program: who did it.
var members = []string{
	"task_struct.mm", "task_struct.group_leader", "task_struct.real_parent", "task_struct.tgid", "task_struct.comm",
	"mm_struct.exe_file", "file.f_inode",
}

// sockMembers are of flows. A struct sock begins with a struct sock_common, and is the beginning of a struct
// inet_connection_sock.
var sockMembers = []string{
	"sock_common.skc_daddr", "sock_common.skc_v6_daddr", "sock_common.skc_dport", "sock_common.skc_num",
	"inet_connection_sock.icsk_bind_hash", "inet_bind_bucket.fastreuse",
}

// registers are where the first two arguments of a system call still are when it returns, as members of struct pt_regs. On
// arm64 the first is gone by then; no call with a path in the first place exists there.
var registers = map[string][2]string{"amd64": {"di", "si"}, "arm64": {"", "regs"}}

// argument is the offset of an argument of a system call in struct pt_regs.
func (o offsets) argument(n int) (int32, bool) {
	at, ok := o["pt_regs."+registers[runtime.GOARCH][n]]
	if runtime.GOARCH == "arm64" {
		at += int32(8 * n)
	}
	return at, ok
}

// findOffsets asks the kernel's description of its own types.
func findOffsets(k kind) (offsets, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, refused("this kernel does not describe its types: there is no /sys/kernel/btf/vmlinux", "run a kernel with CONFIG_DEBUG_INFO_BTF")
	}
	wanted := append([]string{}, members...)
	switch k {
	case opens:
		names, ok := registers[runtime.GOARCH]
		if !ok {
			return nil, refused("what is opened cannot be told on "+runtime.GOARCH, "run it on amd64 or arm64")
		}
		for _, n := range names {
			if n != "" {
				wanted = append(wanted, "pt_regs."+n)
			}
		}
	case flows:
		wanted = append(wanted, sockMembers...)
	}
	out := offsets{}
	for _, name := range wanted {
		if out[name], err = offsetOf(spec, name); err != nil {
			return nil, refused(fmt.Sprintf("this kernel has no `%s`, which tells who did what: %v", name, err), "run a newer kernel")
		}
	}
	return out, nil
}

var errNoMember = errors.New("there is no such member")

func offsetOf(spec *btf.Spec, name string) (int32, error) {
	var of, member string
	for i := range name {
		if name[i] == '.' {
			of, member = name[:i], name[i+1:]
		}
	}
	var s *btf.Struct
	if err := spec.TypeByName(of, &s); err != nil {
		return 0, errors.New("there is no such struct")
	}
	if at, ok := within(s.Members, member); ok {
		return int32(at.Bytes()), nil
	}
	return 0, errNoMember
}

// within also looks into members without a name.
func within(list []btf.Member, name string) (btf.Bits, bool) {
	for _, m := range list {
		if m.Name == name {
			return m.Offset, true
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if at, ok := within(inner, name); ok {
			return m.Offset + at, true
		}
	}
	return 0, false
}
