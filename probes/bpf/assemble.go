package bpf

import (
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The keys of the tables, as the programs write them: who and what. All bytes that are not used are zero.
type (
	// pathKey is who opened or executed what.
	pathKey struct {
		Pid  uint32
		_    uint32
		Name [16]byte
		Path [256]byte
	}
	// flowKey is who speaks with whom over TCP.
	flowKey struct {
		Pid     uint32
		Port    uint16 // the remote one of a connection that went out, else the local one
		Side    uint16 // bits: sideIn, sideV6
		Name    [16]byte
		Address [16]byte // of the peer
	}
	// counts is what a table counts of a key; the kind of the table says what.
	counts [3]uint64
)

// The bits of a flowKey's side.
const (
	sideIn = 1 << iota
	sideV6
)

const (
	pathKeySize = int16(unsafe.Sizeof(pathKey{}))
	flowKeySize = int16(unsafe.Sizeof(flowKey{}))
	countsSize  = int16(unsafe.Sizeof(counts{}))

	keyName    = int16(unsafe.Offsetof(pathKey{}.Name))
	keyPath    = int16(unsafe.Offsetof(pathKey{}.Path))
	keyPort    = int16(unsafe.Offsetof(flowKey{}.Port))
	keySide    = int16(unsafe.Offsetof(flowKey{}.Side))
	keyAddress = int16(unsafe.Offsetof(flowKey{}.Address))
)

// Which of the counts.
const (
	opened, failed           = 0, 1
	executed                 = 0
	sent, received, connects = 0, 1, 2
)

// Registers that a call of the kernel leaves alone. The calls take R1 to R5 and answer in R0.
const (
	record = asm.R6 // the event, and while it is counted the side of the table
	task   = asm.R7
	amount = asm.R8 // what to add
	where  = asm.R9 // a pointer on its way, later the offset of the count in counts
)

// code is a program under construction. Its stack holds the key, below it the counts of a new entry, below them one word.
type code struct {
	asm.Instructions
	at      offsets
	keySize int16
	self    uint64 // the inode of chaos' own program, as the kernel's address of it
}

func newCode(at offsets, keySize int16, self uint64) *code {
	return &code{at: at, keySize: keySize, self: self}
}

func (c *code) key(field int16) int16 { return -c.keySize + field }
func (c *code) fresh() int16          { return -c.keySize - countsSize }
func (c *code) word() int16           { return c.fresh() - 8 }

func (c *code) do(list ...asm.Instruction) { c.Instructions = append(c.Instructions, list...) }

// stack points a register at a place on the stack.
func (c *code) stack(r asm.Register, offset int16) {
	c.do(asm.Mov.Reg(r, asm.R10), asm.Add.Imm(r, int32(offset)))
}

// copy reads from the kernel's memory onto the stack. What cannot be read becomes zeros.
func (c *code) copy(to int16, size int32, from asm.Register, offset int32) {
	c.do(asm.Mov.Reg(asm.R3, from), asm.Add.Imm(asm.R3, offset), asm.Mov.Imm(asm.R2, size))
	c.stack(asm.R1, to)
	c.do(asm.FnProbeReadKernel.Call())
}

// follow reads the pointer that is a member of a struct; from nil it leads to nil.
func (c *code) follow(from, to asm.Register, member string) {
	c.copy(c.word(), 8, from, c.at[member])
	c.do(asm.LoadMem(to, asm.R10, c.word(), asm.DWord))
}

// inode finds out which program the present process runs, by the inode of its file.
func (c *code) inode() {
	c.do(asm.FnGetCurrentTask.Call(), asm.Mov.Reg(task, asm.R0))
	c.follow(task, where, "task_struct.mm")
	c.follow(where, where, "mm_struct.exe_file")
	c.follow(where, where, "file.f_inode")
}

// begin leaves out chaos itself, its helpers and its guardian, which all run the same file, and clears the stack.
func (c *code) begin() {
	c.do(asm.Mov.Reg(record, asm.R1))
	c.inode()
	c.do(asm.LoadImm(asm.R1, int64(c.self), asm.DWord), asm.JEq.Reg(where, asm.R1, "exit"))
	c.do(asm.Mov.Imm(asm.R1, 0))
	for at := c.fresh(); at < 0; at += 8 {
		c.do(asm.StoreMem(asm.R10, at, asm.R1, asm.DWord))
	}
}

// who writes the present process into the key. Threads count as their process, and have its name.
func (c *code) who() {
	c.do(asm.FnGetCurrentPidTgid.Call(), asm.RSh.Imm(asm.R0, 32), asm.StoreMem(asm.R10, c.key(0), asm.R0, asm.Word))
	c.follow(task, where, "task_struct.group_leader")
	c.copy(c.key(keyName), 16, where, c.at["task_struct.comm"])
}

// count adds the amount to one of the counts of the key, and ends the program. Where the table is full, the event is lost.
func (c *code) count(table, lost *ebpf.Map) {
	const side = record // all of one program's doings are on one side
	c.do(asm.StoreImm(asm.R10, c.word(), 0, asm.Word), asm.LoadMapPtr(asm.R1, table.FD()))
	c.stack(asm.R2, c.word())
	c.do(asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "exit"), asm.Mov.Reg(side, asm.R0))
	find := func() {
		c.do(asm.Mov.Reg(asm.R1, side))
		c.stack(asm.R2, -c.keySize)
		c.do(asm.FnMapLookupElem.Call())
	}
	find()
	c.do(asm.JNE.Imm(asm.R0, 0, "add"))
	c.do(asm.Mov.Reg(asm.R1, side))
	c.stack(asm.R2, -c.keySize)
	c.stack(asm.R3, c.fresh())
	c.do(asm.Mov.Imm(asm.R4, int32(ebpf.UpdateNoExist)), asm.FnMapUpdateElem.Call())
	find() // another processor may have been first
	c.do(asm.JNE.Imm(asm.R0, 0, "add"))
	c.do(asm.LoadMapPtr(asm.R1, lost.FD()))
	c.stack(asm.R2, c.word())
	c.do(asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "exit"), asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0), asm.Ja.Label("exit"))
	c.do(asm.Add.Reg(asm.R0, where).WithSymbol("add"), asm.AddAtomic.Mem(asm.R0, amount, asm.DWord, 0))
	c.do(asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"), asm.Return())
}

// openProgram counts at the return of a system call that opens: then it is known whether it worked, and the path has been
// read, so it is in memory. It is the nth argument, which the registers at the entry still tell.
func openProgram(at offsets, self uint64, t tracepoint, nth int, table, lost *ebpf.Map) (asm.Instructions, error) {
	if err := t.need("of the return of a system call", "ret"); err != nil {
		return nil, err
	}
	argument, _ := at.argument(nth)
	c := newCode(at, pathKeySize, self)
	c.begin()
	c.who()
	c.do(asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R1, asm.R0), asm.FnTaskPtRegs.Call(), asm.Mov.Reg(where, asm.R0))
	c.copy(c.word(), 8, where, argument)
	c.do(asm.LoadMem(asm.R3, asm.R10, c.word(), asm.DWord), asm.Mov.Imm(asm.R2, int32(len(pathKey{}.Path))))
	c.stack(asm.R1, c.key(keyPath))
	c.do(asm.FnProbeReadUserStr.Call())
	c.do(asm.Mov.Imm(amount, 1), asm.Mov.Imm(where, 8*opened))
	c.do(asm.LoadMem(asm.R1, record, t.fields["ret"], asm.DWord), asm.JSGE.Imm(asm.R1, 0, "worked"))
	c.do(asm.Mov.Imm(where, 8*failed))
	c.do(asm.Mov.Imm(amount, 1).WithSymbol("worked"))
	c.count(table, lost)
	return c.Instructions, nil
}

// execProgram counts executed programs, by the process that started the one that executes.
func execProgram(at offsets, self uint64, t tracepoint, table, lost *ebpf.Map) (asm.Instructions, error) {
	if err := t.need(execTracepoint, "filename"); err != nil {
		return nil, err
	}
	c := newCode(at, pathKeySize, self)
	c.begin()
	c.follow(task, task, "task_struct.real_parent")
	c.copy(c.key(0), 4, task, at["task_struct.tgid"])
	c.follow(task, where, "task_struct.group_leader")
	c.copy(c.key(keyName), 16, where, at["task_struct.comm"])
	// The lower half of a __data_loc is where in the record the text is.
	c.do(asm.LoadMem(asm.R3, record, t.fields["filename"], asm.Word), asm.And.Imm(asm.R3, 0xffff), asm.Add.Reg(asm.R3, record), asm.Mov.Imm(asm.R2, int32(len(pathKey{}.Path))))
	c.stack(asm.R1, c.key(keyPath))
	c.do(asm.FnProbeReadKernelStr.Call())
	c.do(asm.Mov.Imm(amount, 1), asm.Mov.Imm(where, 8*executed))
	c.count(table, lost)
	return c.Instructions, nil
}

// Of the kernel's interface: socket(2), netinet/tcp.h, recv(2).
const (
	afInet, afInet6 = 2, 10
	protocolTCP     = 6
	stateSynSent    = 2
	messagePeek     = 2
)

// lengthProgram counts the bytes that were sent or received, one call of send or receive at a time.
func lengthProgram(at offsets, self uint64, name string, t tracepoint, which int, table, lost *ebpf.Map) (asm.Instructions, error) {
	if err := t.need(name, "sk", "family", "protocol", "ret", "flags"); err != nil {
		return nil, err
	}
	c := newCode(at, flowKeySize, self)
	c.begin()
	c.tcpOnly(t)
	c.do(asm.LoadMemSX(amount, record, t.fields["ret"], asm.Word), asm.JSLE.Imm(amount, 0, "exit"))
	if which == received {
		c.do(asm.LoadMem(asm.R1, record, t.fields["flags"], asm.Word), asm.JSet.Imm(asm.R1, messagePeek, "exit")) // it will be received again
	}
	c.who()
	c.peer(t, "sk")
	// A port that the kernel chose for connect() is marked as such: -1. Of a connection that both sides have closed, the
	// port is gone; it reads as 0, and the mark with it.
	c.do(asm.LoadMem(where, record, t.fields["sk"], asm.DWord))
	c.follow(where, where, "inet_connection_sock.icsk_bind_hash")
	c.do(asm.JEq.Imm(where, 0, "out"))
	c.copy(c.word(), 1, where, at["inet_bind_bucket.fastreuse"])
	c.do(asm.LoadMem(asm.R1, asm.R10, c.word(), asm.Byte), asm.JEq.Imm(asm.R1, 0xff, "out"))
	c.do(asm.LoadMem(where, record, t.fields["sk"], asm.DWord))
	c.copy(c.key(keyPort), 2, where, at["sock_common.skc_num"])
	c.do(asm.LoadMem(asm.R1, asm.R10, c.key(keySide), asm.Half), asm.Or.Imm(asm.R1, sideIn), asm.StoreMem(asm.R10, c.key(keySide), asm.R1, asm.Half))
	c.do(asm.Mov.Imm(where, int32(8*which)).WithSymbol("out"))
	c.count(table, lost)
	return c.Instructions, nil
}

// connectProgram counts connect(): the state changes while the process is in the call, so it is the right one.
func connectProgram(at offsets, self uint64, t tracepoint, table, lost *ebpf.Map) (asm.Instructions, error) {
	if err := t.need(stateTracepoint, "skaddr", "newstate", "family", "protocol"); err != nil {
		return nil, err
	}
	c := newCode(at, flowKeySize, self)
	c.begin()
	c.tcpOnly(t)
	c.do(asm.LoadMem(asm.R1, record, t.fields["newstate"], asm.Word), asm.JNE.Imm(asm.R1, stateSynSent, "exit"))
	c.who()
	c.peer(t, "skaddr")
	c.do(asm.Mov.Imm(amount, 1), asm.Mov.Imm(where, 8*connects))
	c.count(table, lost)
	return c.Instructions, nil
}

func (c *code) tcpOnly(t tracepoint) {
	c.do(asm.LoadMem(asm.R1, record, t.fields["protocol"], asm.Half), asm.JNE.Imm(asm.R1, protocolTCP, "exit"))
}

// peer writes the remote address and port into the key.
func (c *code) peer(t tracepoint, sock string) {
	c.do(asm.LoadMem(where, record, t.fields[sock], asm.DWord))
	c.copy(c.key(keyPort), 2, where, c.at["sock_common.skc_dport"])
	c.do(asm.LoadMem(asm.R1, asm.R10, c.key(keyPort), asm.Half), asm.HostTo(asm.BE, asm.R1, asm.Half), asm.StoreMem(asm.R10, c.key(keyPort), asm.R1, asm.Half))
	c.do(asm.LoadMem(asm.R1, record, t.fields["family"], asm.Half), asm.JEq.Imm(asm.R1, afInet, "v4"), asm.JNE.Imm(asm.R1, afInet6, "exit"))
	c.do(asm.StoreImm(asm.R10, c.key(keySide), sideV6, asm.Half))
	c.copy(c.key(keyAddress), 16, where, c.at["sock_common.skc_v6_daddr"])
	c.do(asm.Ja.Label("named"))
	c.do(asm.LoadMem(where, record, t.fields[sock], asm.DWord).WithSymbol("v4"))
	c.copy(c.key(keyAddress), 4, where, c.at["sock_common.skc_daddr"])
	c.do(asm.Mov.Imm(asm.R1, 0).WithSymbol("named"))
}

// selfProgram stores the inode of the program that runs it.
func selfProgram(at offsets, into *ebpf.Map) asm.Instructions {
	c := newCode(at, 8, 0)
	c.inode()
	c.do(asm.StoreMem(asm.R10, c.fresh(), where, asm.DWord), asm.StoreImm(asm.R10, c.word(), 0, asm.Word), asm.LoadMapPtr(asm.R1, into.FD()))
	c.stack(asm.R2, c.word())
	c.stack(asm.R3, c.fresh())
	c.do(asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return())
	return c.Instructions
}
