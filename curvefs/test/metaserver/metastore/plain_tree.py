"""What a filesystem is: directories of names, without entries, keys or counters. The model of other tests."""

import stat
from dataclasses import dataclass, field

REG, DIR, LNK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


@dataclass(eq=False)
class Node:
    mode: int
    parent: "Node | None" = None
    names: dict[bytes, "Node"] = field(default_factory=dict)
    links: int = 0  # names that lead here
    length: int = 0
    held: bool = False
    inode_id: int = 0

    @property
    def is_directory(self):
        return stat.S_ISDIR(self.mode)

    @property
    def nlink(self):
        if not self.is_directory:
            return self.links
        return 2 + sum(child.is_directory for child in self.names.values()) if self.links else 0


class No(Exception):
    """A local filesystem would refuse."""


class Tree:
    """What a filesystem is: directories of names. Knows nothing of entries, keys or counters."""

    def __init__(self):
        self.root = Node(DIR, links=1, inode_id=1)
        self.nodes = [self.root]

    def directory(self, node):
        if not node.is_directory or not node.links:
            raise No
        return node.names

    def lose(self, node, hold):
        node.links -= 1
        node.held = hold and not node.links

    def create(self, parent, name, mode):
        names = self.directory(parent)
        if name in names:
            raise No
        node = names[name] = Node(mode, parent, links=1, length=len(b"target") if mode == LNK else 0)
        self.nodes.append(node)
        return node

    def unlink(self, parent, name, hold):
        node = self.directory(parent).get(name)
        if node is None or node.is_directory:
            raise No
        del parent.names[name]
        self.lose(node, hold)

    def rmdir(self, parent, name, hold):
        node = self.directory(parent).get(name)
        if node is None or not node.is_directory or node.names:
            raise No
        del parent.names[name]
        self.lose(node, hold)

    def link(self, node, parent, name):
        if name in self.directory(parent) or node.is_directory or not node.links:
            raise No
        parent.names[name] = node
        node.links += 1

    def rename(self, parent, name, new_parent, new_name, flag, hold):
        source, target = self.directory(parent), self.directory(new_parent)
        node, old = source.get(name), target.get(new_name)
        if node is None or (flag == "exchange" and old is None) or (flag == "no_replace" and old is not None):
            raise No
        if self.is_below(new_parent, node) or (flag == "exchange" and self.is_below(parent, old)):
            raise No
        if old is node:
            return
        if flag == "exchange":
            source[name], target[new_name] = old, node
            old.parent = parent
        else:
            if old is not None and (old.is_directory != node.is_directory or old.names):
                raise No
            del source[name]
            target[new_name] = node
            if old is not None:
                self.lose(old, hold)
        node.parent = new_parent

    def is_below(self, node, ancestor):
        while node is not None:
            if node is ancestor:
                return True
            node = node.parent
        return False

    def truncate(self, node, length):
        if node.mode != REG or not (node.links or node.held):
            raise No
        node.length = length

    def release(self, node):
        node.held = False
