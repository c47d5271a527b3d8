# Sandboxes made of Python, as people write them: all of them are left, and that is the point. Each runs code and returns
# the names that it has bound; the code shows that it got out by binding "got" to the module os, or to a function of it.
import ast
import json
import re
import string
import timeit
import typing

SECRET = "a-word-that-code-in-the-jail-must-not-see"


def say(what):
    """An innocent function that a jail hands to the code in it."""
    return str(what)


def no_builtins(code, **given):
    """exec with nothing in __builtins__."""
    names = {"__builtins__": {}, "say": say, **given}
    exec(code, names)
    return names


WORDS = re.compile(r"import|exec|eval|open|compile|input|\bos\b|sys|subprocess|system|globals|locals")


def no_words(code, **given):
    """A filter of words over the source, which may be bytes in an encoding of its own."""
    text = code.decode("latin-1") if isinstance(code, bytes) else code
    if WORDS.search(text):
        raise SystemExit("the filter of words refused: " + WORDS.search(text).group())
    names = {"say": say, **given}
    exec(code, names)
    return names


def no_comments(code, **given):
    """The same, after comments are taken out line by line: they do nothing, it is thought."""
    lines = [line.split("#")[0] for line in code.split("\n")]
    if WORDS.search("\n".join(lines)):
        raise SystemExit("the filter of words refused")
    names = {"say": say, **given}
    exec(code, names)
    return names


def no_strings(code, **given):
    """The same, after strings are taken out: text is not code, it is thought."""
    if WORDS.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", code)):
        raise SystemExit("the filter of words refused")
    names = {"say": say, **given}
    exec(code, names)
    return names


MODULES = {"string": string, "json": json, "typing": typing, "timeit": timeit}
SAFE = ["str", "len", "range", "print", "list", "dict", "int", "Exception", "object", "isinstance", "sorted", "bool", "next", "iter"]


def parsed(code, **forbidden):
    """Refuses what guards of syntax trees refuse: imports, names and attributes that begin with an underscore."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        name = getattr(node, "attr", None) or getattr(node, "id", None) or ""
        if isinstance(node, (ast.Import, ast.ImportFrom)) or name.startswith("_"):
            raise SystemExit("the guard refused: " + ast.dump(node)[:80])
        if isinstance(node, tuple(forbidden.get("nodes", ()))):
            raise SystemExit("the guard refused: " + ast.dump(node)[:80])
    return tree


def no_underscores(code, **given):
    """A guard of the syntax tree, and few builtins: RestrictedPython's way in short."""
    builtins = {name: __builtins__[name] for name in SAFE} if isinstance(__builtins__, dict) else {n: getattr(__builtins__, n) for n in SAFE}
    names = {"__builtins__": builtins, "say": say, **given}
    exec(compile(parsed(code), "jail", "exec"), names)
    return names


class Guard(ast.NodeTransformer):
    """Puts a function between code and each attribute and item, as RestrictedPython does."""

    def visit_Attribute(self, node):
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return ast.copy_location(ast.Call(ast.Name("_getattr_", ast.Load()), [node.value, ast.Constant(node.attr)], []), node)

    def visit_Subscript(self, node):
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return ast.copy_location(ast.Call(ast.Name("_getitem_", ast.Load()), [node.value, node.slice], []), node)


def guarded_getattr(thing, name, *default):
    if not isinstance(name, str) or name.startswith("_"):
        raise SystemExit("the guard refused: " + str(name))
    return getattr(thing, name, *default)


def restricted(code, **given):
    """Guarded access to everything, modules of an allow-list, few builtins."""
    tree = ast.fix_missing_locations(Guard().visit(parsed(code)))
    builtins = {n: (__builtins__[n] if isinstance(__builtins__, dict) else getattr(__builtins__, n)) for n in SAFE}
    builtins["getattr"] = guarded_getattr
    names = {"__builtins__": builtins, "say": say, "_getattr_": guarded_getattr, "_getitem_": lambda o, i: o[i], **MODULES, **given}
    exec(compile(tree, "jail", "exec"), names)
    return names


def no_calls(code, **given):
    """A guard that lets nothing be called: then nothing can happen, it is thought."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Call, ast.Import, ast.ImportFrom)):
            raise SystemExit("the guard refused: " + ast.dump(node)[:80])
    names = {"say": say, **given}
    exec(code, names)
    return names


def expression(code, **given):
    """eval of one expression, without builtins."""
    return {"got": eval(code, {"__builtins__": {}, "say": say, **given})}
