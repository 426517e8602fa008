"""Whatever a client sends is answered: no value stops a group; what is refused changes nothing."""

import stat

import pytest
from google.protobuf import message_factory
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2, state_pb2, transaction_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.metastore.scope import NeedsNewerVersion, Refusal, Scope
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.transactions.plan import NothingToDo, plan

from .lab import FS, SESSION, Lab

ROOT = 1
FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
U64 = (1 << 64) - 1
U32 = (1 << 32) - 1
HUGE = ((1 << 63) - 1, 1 << 63, U64 - 1024, U64 - 1, U64, 7 << 40 | 5)
EDGES_64 = st.sampled_from(
    [*range(6), 1024, 1025, 1026, 1000, 1001, (1 << 20) - 1, 1 << 20, 1 << 40, (1 << 62) - 1, 1 << 62, *HUGE]
)
EDGES_32 = st.sampled_from(
    [0, 1, 2, 3, 4, 1000, (1 << 20) - 1, 1 << 20, 1 << 24, (1 << 31) - 1, 1 << 31, U32, FILE, FOLDER]
)
BYTES = st.sampled_from(
    [b"", b".", b"..", b"f", b"d", b"e", b"x", b"new", b"a/b", b"a\0b", b"n" * 255, b"n" * 256, b"n" * 600, b"\xff\xfe"]
)
OF_TYPE = {
    "uint64": EDGES_64,
    "int64": st.sampled_from([0, 1, -1, (1 << 63) - 1, -(1 << 63)]),
    "uint32": EDGES_32,
    "bool": st.booleans(),
    "bytes": BYTES,
    "enum": st.sampled_from([0, 1, 2, 300, (1 << 31) - 1]),
    "string": st.sampled_from(["", "x"]),
}


def messages(descriptor):
    """Return a strategy of messages with any fields set to borderline values."""
    message_class = message_factory.GetMessageClass(descriptor)

    @st.composite
    def build(draw):
        message = message_class()
        for field in descriptor.fields:
            if field.containing_oneof is not None and draw(st.integers(0, 2)):
                continue
            if field.is_repeated:
                strategy = messages(field.message_type) if field.message_type else values(field)
                getattr(message, field.name).extend(draw(st.lists(strategy, max_size=3)))
            elif field.message_type:
                if draw(st.booleans()):
                    getattr(message, field.name).CopyFrom(draw(messages(field.message_type)))
            elif draw(st.integers(0, 3)):
                setattr(message, field.name, draw(values(field)))
        return message

    return build()


def values(field):
    return OF_TYPE[{4: "uint64", 3: "int64", 13: "uint32", 8: "bool", 12: "bytes", 14: "enum", 9: "string"}[field.type]]


def kinds(message, oneof):
    """Return (name, descriptor) of the messages in a oneof."""
    return [(one.name, one.message_type) for one in message.DESCRIPTOR.oneofs_by_name[oneof].fields]


@st.composite
def operations(draw):
    name, descriptor = draw(st.sampled_from(kinds(pb.Operation, "operation")))
    operation = pb.Operation(**{name: draw(messages(descriptor))})
    if draw(st.integers(0, 4)) == 0:
        operation.preconditions.append(draw(messages(pb.Precondition.DESCRIPTOR)))
    return operation


@st.composite
def any_reads(draw):
    name, descriptor = draw(st.sampled_from(kinds(pb.Read, "read")))
    return pb.Read(**{name: draw(messages(descriptor))})


def furnished():
    """A lab with a bit of everything; leased: inodes from 1024, chunk ids from 1000; the folder has a quota."""
    lab = Lab(retention_s=3600)
    file = lab.create(ROOT, b"f")
    folder = lab.mkdir(ROOT, b"d")
    lab.mkdir(folder, b"e")
    lab.ok(link=pb.Link(inode_id=file, new_parent=folder, new_name=b"x"))
    one = pb.Slice(chunk_id=1005, offset=10, length=100, size=100, object=pb.ObjectLocation(block_format=1))
    lab.ok(append_slices=pb.AppendSlices(inode_id=file, slices=[one], length=110))
    lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"x", value=b"v"))
    held = lab.create(ROOT, b"held")
    lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"held", held_inode=held))
    amount = common_pb2.QuotaAmount(bytes=1 << 40, inodes=100)
    lab.entry(set_quota=state_pb2.SetQuotaCommand(fs_id=FS, inode_id=folder, limit=amount))
    share = common_pb2.QuotaShare(version=1, allowance=amount)
    quota_id = lab.inode(folder).own_quota
    lab.entry(set_share=state_pb2.SetShareCommand(fs_id=FS, partition_id=0, quota_id=quota_id, share=share))
    lab.create(folder, b"new")
    name = transaction_pb2.PutName(parent=folder, name=b"locked", inode_id=file, type=pb.REGULAR)
    command = state_pb2.PrepareCommand(
        id=transaction_pb2.TransactionId(group_id=9, term=1, number=1), fs_id=FS, round=1
    )
    command.parts.add(put_name=name)
    assert lab.entry(prepare=command).facts
    return lab


def send(lab, operations):
    first = lab.sequence + 1
    lab.sequence += len(operations)
    return lab.batch(first, operations, acknowledged=first - 1)


@settings(max_examples=400, deadline=None)
@given(st.lists(operations(), min_size=1, max_size=6))
@example([pb.Operation(allocate_ids=pb.AllocateIds(partition_id=U32))])
@example([pb.Operation(allocate_ids=pb.AllocateIds(kind=300))])
@example(
    [pb.Operation(append_slices=pb.AppendSlices(inode_id=2, at_end=True, slices=[pb.Slice(zero=True, length=U32)]))]
)
@example(
    [
        pb.Operation(
            append_slices=pb.AppendSlices(
                inode_id=2, at_end=True, slices=[pb.Slice(zero=True, chunk_index=U64, offset=5, length=7)]
            )
        )
    ]
)
@example([pb.Operation(reserve=pb.Reserve(inode_id=2, bytes=U64, wish=1))])
@example([pb.Operation(reserve=pb.Reserve(inode_id=2, bytes=5, wish=U64))])
def test_no_operation_stops_the_group_and_a_refused_one_changes_nothing(ops):
    lab, other = furnished(), furnished()
    applied = send(lab, ops)
    assert applied.failure is None
    assert len(applied.results.results) == len(ops)
    noop = pb.Operation(noop=pb.NoOperation())
    send(other, [noop if result.status else op for op, result in zip(ops, applied.results.results, strict=True)])
    assert without_results(lab) == without_results(other)


@settings(max_examples=200, deadline=None)
@given(operations(), EDGES_64, EDGES_64)
def test_no_operation_across_partitions_stops_the_group(operation, number, acknowledged):
    lab = furnished()
    operation.ClearField("preconditions")
    try:
        made = plan(Scope(lab.state, 0, 0, FS, SESSION), operation, frozenset({0, 1}))
    except (Refusal, NothingToDo):
        return
    command = state_pb2.DecideCommand(fs_id=FS, session_id=SESSION, number=number, acknowledged=acknowledged)
    command.id.CopyFrom(transaction_pb2.TransactionId(group_id=7, term=1, number=1))
    command.parts.extend(made.decided_parts())
    lab.entry(decide=command)


@settings(max_examples=100, deadline=None)
@given(EDGES_64, EDGES_64)
def test_no_number_of_a_batch_stops_the_group(first, acknowledged):
    lab = furnished()
    applied = lab.batch(first, [pb.Operation(noop=pb.NoOperation())], acknowledged=acknowledged)
    assert applied.results.SerializeToString()


def without_results(lab):
    return [pair for pair in lab.state.pairs.items() if pair[0][:1] != keys.RESULT]


@settings(max_examples=300, deadline=None)
@given(any_reads())
@example(pb.Read(get_slices=pb.GetSlices(inode_id=2, first_chunk=U64, count=5)))
@example(pb.Read(get_attr=pb.GetAttr(inode_id=U64)))
@example(pb.Read(read_dir=pb.ReadDir(inode_id=U64)))
@example(pb.Read(read_dir=pb.ReadDir(inode_id=1, after_hash=U64, after_name=b"n" * 600)))
def test_every_read_is_answered(read):
    furnished().read(**{read.WhichOneof("read"): getattr(read, read.WhichOneof("read"))}).SerializeToString()


def test_a_batch_of_great_operations_is_taken_in_part():
    lab = Lab()
    file = lab.create(ROOT, b"f")
    zeros = [pb.Slice(zero=True, length=1)] * 500
    op = pb.Operation(append_slices=pb.AppendSlices(inode_id=file, slices=zeros, length=1))
    applied = lab.batch(2, [op] * 256, acknowledged=1)
    done = len(applied.results.results)
    assert 0 < done < 256
    assert applied.results.failure.code == common_pb2.OVERLOADED
    again = lab.batch(2 + done, [op], acknowledged=1 + done)
    assert again.results.results[0].status == common_pb2.OK


def test_an_operation_of_no_kind_is_refused_and_consumes_its_number():
    lab = Lab()
    lab.refused(common_pb2.UNSUPPORTED)
    lab.ok(noop=pb.NoOperation())


def unknown_entries():
    """What a leader of a newer version may have made."""
    header = {"fs_id": FS, "session_id": SESSION, "group_id": 7, "first_sequence": 1}
    noop = pb.Operation(noop=pb.NoOperation())
    id_ = transaction_pb2.TransactionId(group_id=9, term=1, number=1)
    yield "command", state_pb2.Entry(format=1)
    yield "format", of_batch(pb.OperationBatch(**header, operations=[noop]), format_=2)
    yield "operation", of_batch(pb.OperationBatch(**header, operations=[noop, pb.Operation()]))
    unconditional = pb.Operation(noop=pb.NoOperation(), preconditions=[pb.Precondition()])
    yield "condition", of_batch(pb.OperationBatch(**header, operations=[unconditional]))
    part = state_pb2.PrepareCommand(id=id_, fs_id=FS, round=1, parts=[transaction_pb2.Part()])
    yield "part", state_pb2.Entry(format=1, prepare=part)
    yield "step", state_pb2.Entry(format=1, compact=state_pb2.CompactCommand(fs_id=FS))


def of_batch(batch, format_=1):
    return state_pb2.Entry(format=format_, operations=state_pb2.OperationsCommand(batch=batch))


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in unknown_entries()])
def test_an_entry_that_only_a_newer_version_knows_is_not_applied(entry):
    with pytest.raises(NeedsNewerVersion):
        Lab().log(entry)


@pytest.mark.parametrize("wrong", [b"", b"s" * 15, b"s" * 600])
def test_a_session_id_of_another_size_is_refused(wrong):
    lab = Lab()
    assert lab.open(wrong).failure.code == common_pb2.INVALID_ARGUMENT
    assert lab.end(wrong).failure.code == common_pb2.INVALID_ARGUMENT
    applied = lab.batch(1, [pb.Operation(noop=pb.NoOperation())], session=wrong)
    assert applied.failure.code == common_pb2.SESSION_UNKNOWN


@pytest.mark.parametrize(
    "wrong", [{"chunk_size": 0}, {"chunk_size": 1 << 32}, {"hash_seed": b"h" * 65}, {"partition_id": (1 << 24) - 1}]
)
def test_a_partition_that_cannot_be_is_refused(wrong):
    spec = pb.PartitionSpec(**({"fs_id": 2, "partition_id": 1, "chunk_size": 1 << 20} | wrong))
    applied = Lab().entry(create_partition=state_pb2.CreatePartitionCommand(partition=spec))
    assert applied.failure.code == common_pb2.INVALID_ARGUMENT
