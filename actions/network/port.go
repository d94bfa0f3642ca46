package network

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// port is one port of this machine.
type port struct {
	Protocol string     `json:"protocol"`
	Address  netip.Addr `json:"address"`
	Number   int        `json:"number"`
}

func (p port) String() string {
	return fmt.Sprintf("%s %s", p.Protocol, netip.AddrPortFrom(p.Address, uint16(p.Number)))
}

func (p port) identity() target.Identity {
	return target.Identity{Kind: "port", ID: p.String(), Boot: target.Boot()}
}

// socket makes a socket that has no port yet.
func (p port) socket() (int, error) {
	kind, family := unix.SOCK_STREAM, unix.AF_INET
	if p.Protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	if p.Address.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("no socket can be made for %s: %w", p, err)
	}
	return fd, nil
}

// bind gives the port to a socket. SO_REUSEADDR passes over connections in TIME_WAIT, which nobody holds any more; while
// something listens, bind fails with it as well. See socket(7).
func (p port) bind(fd int) error {
	if p.Protocol == "tcp" {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if p.Address.Is6() {
		return unix.Bind(fd, &unix.SockaddrInet6{Port: p.Number, Addr: p.Address.As16()})
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Port: p.Number, Addr: p.Address.As4()})
}

// take binds a socket so that nobody else can have the port. Over TCP that needs a socket that listens: one that is only
// bound would not stop a server that sets SO_REUSEADDR, as most do. With a backlog of 0 the kernel still completes the
// connection of a first client, which waits in a queue that nobody empties; after that it drops what comes. See listen(2).
func (p port) take(fd int) error {
	err := p.bind(fd)
	if err == nil && p.Protocol == "tcp" {
		err = unix.Listen(fd, 0)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		who, err := p.holder()
		switch {
		case err != nil:
			who = "a process that cannot be told: " + err.Error()
		case who == "": // which the kernel does not list
			who = "a process that does not listen there, or not yet"
		}
		return fmt.Errorf("%s is in use already by %s; end that first, or choose another port", p, who)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s may not be taken by this user: run as root", p)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%s is no address of this machine", p.Address)
	}
	return err
}

// try is what somebody else would see who wants the port.
func (p port) try() error {
	fd, err := p.socket()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := p.bind(fd); err != nil || p.Protocol == "udp" {
		return err
	}
	return unix.Listen(fd, 0)
}

// local refuses an address that is not of this machine.
func (p port) local() error {
	if p.Address.IsLoopback() || p.Address.IsUnspecified() {
		return nil
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the act will tell
	}
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == p.Address {
			return nil
		}
	}
	return fmt.Errorf("`address: %q` is no address of this machine", p.Address)
}

// refused tells in plain words why this user may not have the port; "" where it may. See ip_unprivileged_port_start in
// ip(7).
func (p port) refused() string {
	first := 1024
	if data, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			first = n
		}
	}
	if p.Number >= first {
		return ""
	}
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		if caps, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(caps), 16, 64)
			if err == nil && bits&(1<<unix.CAP_NET_BIND_SERVICE) != 0 {
				return ""
			}
		}
	}
	return fmt.Sprintf("run as root: ports below %d are not for everybody", first)
}

func inodeOf(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Ino, err
}

// bound is a socket that has a port.
type bound struct {
	inode   uint64
	address netip.Addr
}

// sockets lists the sockets that keep others from a port: those that listen over TCP, any over UDP. See proc_pid_net(5).
func sockets(protocol string, number int) ([]bound, error) {
	const listening = "0A" // TCP_LISTEN of include/net/tcp_states.h
	var out []bound
	for _, name := range []string{"/proc/net/" + protocol, "/proc/net/" + protocol + "6"} {
		f, err := os.Open(name)
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
			col := strings.Fields(lines.Text())
			if len(col) < 10 || protocol == "tcp" && col[3] != listening {
				continue
			}
			text, digits, _ := strings.Cut(col[1], ":")
			if n, err := strconv.ParseUint(digits, 16, 16); err != nil || int(n) != number {
				continue
			}
			if inode, err := strconv.ParseUint(col[9], 10, 64); err == nil {
				out = append(out, bound{inode: inode, address: address(text)})
			}
		}
		err = lines.Err()
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// address reads an address as /proc/net prints it: words of 32 bits in the byte order of the machine.
func address(text string) netip.Addr {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return a.Unmap()
}

// conflicts tells whether a socket at an address keeps another from having the same port at p's.
func (p port) conflicts(other netip.Addr) bool {
	switch {
	case other == p.Address, other.IsUnspecified() && (other.Is6() || p.Address.Is4()):
		return true
	case p.Address.IsUnspecified():
		return p.Address.Is6() || other.Is4()
	}
	return false
}

// holder names the processes that have the port; "" where nobody has.
func (p port) holder() (string, error) {
	list, err := sockets(p.Protocol, p.Number)
	if err != nil {
		return "", err
	}
	wanted := map[string]bool{}
	for _, s := range list {
		if p.conflicts(s.address) {
			wanted[fmt.Sprintf("socket:[%d]", s.inode)] = true
		}
	}
	if len(wanted) == 0 {
		return "", nil
	}
	all, err := target.Processes()
	if err != nil {
		return "", err
	}
	var names []string
	for _, q := range all {
		if holds(q.Pid, wanted) {
			names = append(names, "process "+q.Describe())
		}
	}
	if len(names) == 0 {
		return "a process that this user may not look into", nil
	}
	return strings.Join(names, ", "), nil
}

// holds tells whether a process has one of the descriptors wanted.
func holds(pid int, wanted map[string]bool) bool {
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if link, err := os.Readlink(dir + e.Name()); err == nil && wanted[link] {
			return true
		}
	}
	return false
}
