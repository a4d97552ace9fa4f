"""Matrix products, einsum, and linear algebra."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Array, Family, complexes, floats, integers, of

raw = tf.raw_ops

EINSUMS: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = (
    ("ij,jk->ik", ((2, 3), (3, 4))),
    ("ij,kj->ik", ((2, 3), (4, 3))),
    ("ji,jk->ki", ((3, 2), (3, 4))),
    ("bij,bjk->bik", ((2, 2, 3), (2, 3, 4))),
    ("bij,jk->bik", ((2, 2, 3), (3, 4))),
    ("bhqd,bhkd->bhqk", ((1, 2, 3, 4), (1, 2, 5, 4))),
    ("bqhd,bkhd->bhqk", ((1, 3, 2, 4), (1, 5, 2, 4))),
    ("bhqk,bkhd->bqhd", ((1, 2, 3, 5), (1, 5, 2, 4))),
    ("abc,cde->abde", ((2, 3, 4), (4, 2, 3))),
    ("abc,bcd->ad", ((2, 3, 4), (3, 4, 5))),
    ("btd,dhe->bthe", ((2, 3, 4), (4, 2, 3))),
    ("bthe,hed->btd", ((2, 3, 2, 3), (2, 3, 4))),
    ("aecd,abcd->acbe", ((2, 3, 2, 2), (2, 4, 2, 2))),
    ("acbe,aecd->abcd", ((2, 2, 4, 3), (2, 3, 2, 2))),
    ("i,i->", ((4,), (4,))),
    ("i,j->ij", ((3,), (4,))),
    ("ij->ji", ((2, 3),)),
    ("ij->i", ((2, 3),)),
    ("ij->", ((2, 3),)),
    ("ii->i", ((3, 3),)),
    ("ii->", ((3, 3),)),
    ("bii->bi", ((2, 3, 3),)),
    ("abc->cab", ((2, 3, 4),)),
    ("...ij,...jk->...ik", ((2, 1, 2, 3), (2, 3, 4))),
    ("...ij->...ji", ((2, 2, 3),)),
    ("...i,i->...", ((2, 2, 3), (3,))),
    ("i...,...->i...", ((2, 3), (3,))),
    ("bi,bi->b", ((3, 4), (3, 4))),
    ("bi,bj->bij", ((3, 4), (3, 2))),
    ("bi,ij,bj->b", ((3, 4), (4, 2), (3, 2))),
    ("ij,ij->ij", ((2, 3), (2, 3))),
    ("ijk,k->ij", ((2, 3, 4), (4,))),
    ("ij,jk,kl->il", ((2, 3), (3, 2), (2, 4))),
    ("nhwc,nhwd->ncd", ((1, 2, 2, 3), (1, 2, 2, 2))),
    ("nqm,nmk->nqk", ((2, 2, 3), (2, 3, 4))),
    ("ab,cd->abcd", ((2, 2), (2, 3))),
    ("iij,jk->ik", ((2, 2, 3), (3, 4))),
    ("bc,bc->c", ((3, 4), (3, 4))),
)


def add_cases(family: Family) -> None:
    _products(family)
    _batched(family)
    _einsums(family)
    _structure(family)
    _solving(family)


def _products(family: Family) -> None:
    for dtype in ("float32", "float16", "float64", "int32", "int64", "complex64"):
        family.add(f"MatMul_{dtype}", tf.matmul, of(dtype, 2, 3), of(dtype, 3, 4, seed=1))
    for a in (False, True):
        for b in (False, True):
            one, other = (3, 2) if a else (2, 3), (4, 3) if b else (3, 4)
            build = lambda x, y, a=a, b=b: tf.matmul(x, y, transpose_a=a, transpose_b=b)
            name = f"MatMul{'_ta' if a else ''}{'_tb' if b else ''}"
            family.add(f"{name}_two", build, floats(*one), floats(*other, seed=1))
            family.add(f"{name}_weights", lambda x, build=build, w=floats(*other, seed=2): build(x, tf.constant(w)), floats(*one))
            family.add(
                f"{name}_weights_first", lambda y, build=build, w=floats(*one, seed=2): build(tf.constant(w), y), floats(*other)
            )
            family.add(
                f"{name}_weights",
                lambda x, build=build, w=floats(*other, seed=2): build(x, tf.constant(w)),
                floats(*one),
                unknown="batch",
            )
            family.add(f"{name}_open", build, floats(*one), floats(*other, seed=1), unknown="sizes")
    weights, bias = floats(4, 3, seed=5), floats(3, seed=6)
    for name, act in (
        ("none", tf.identity),
        ("relu", tf.nn.relu),
        ("relu6", tf.nn.relu6),
        ("sigmoid", tf.sigmoid),
        ("tanh", tf.tanh),
        ("softmax", tf.nn.softmax),
        ("elu", tf.nn.elu),
    ):
        for shape in ((2, 4), (2, 3, 4)):
            family.add(
                f"dense_{name}_{len(shape)}",
                lambda x, act=act: act(tf.tensordot(x, weights, 1) + bias),
                floats(*shape),
                unknown="batch" if len(shape) == 2 else "",
            )
    family.add("MatMul_vector", lambda a, v: tf.linalg.matvec(a, v), floats(3, 4), floats(4))
    family.add("matvec_transposed", lambda a, v: tf.linalg.matvec(a, v, transpose_a=True), floats(4, 3), floats(4))
    family.add("MatMul_one_by_one", tf.matmul, floats(1, 1), floats(1, 1, seed=1))
    family.add("MatMul_nothing_inside", tf.matmul, floats(2, 0), floats(0, 3))
    family.add("MatMul_no_rows", tf.matmul, floats(0, 3), floats(3, 2))
    family.add("MatMul_unknown_rank", tf.matmul, floats(2, 3), floats(3, 2), shapes=(None, (3, 2)))
    for axes in (1, 2, 0, [[1], [0]], [[0, 1], [1, 0]], [[2], [1]]):
        family.add(f"tensordot_{axes}", lambda a, b, axes=axes: tf.tensordot(a, b, axes), *_tensordot(axes))
    family.add("outer", lambda a, b: a[:, None] * b[None], floats(3), floats(4))
    family.add(
        "two_layers", lambda x: tf.matmul(tf.nn.relu(tf.matmul(x, weights) + bias), floats(3, 2)), floats(5, 4), unknown="batch"
    )
    family.add("weights_shared", lambda x: tf.matmul(tf.matmul(x, weights), weights, transpose_b=True), floats(2, 4))


def _tensordot(axes: object) -> tuple[Array, Array]:
    shapes = {"1": ((2, 3), (3, 4)), "2": ((2, 3, 4), (3, 4, 2)), "0": ((2,), (3,)), "[[1], [0]]": ((2, 3), (3, 4))}
    shapes |= {"[[0, 1], [1, 0]]": ((2, 3), (3, 2, 4)), "[[2], [1]]": ((2, 3, 4), (3, 4))}
    one, other = shapes[str(axes)]
    return floats(*one), floats(*other, seed=1)


def _batched(family: Family) -> None:
    for dtype in ("float32", "float16", "float64", "int32", "int64", "complex64"):
        family.add(
            f"BatchMatMulV2_{dtype}", lambda a, b: raw.BatchMatMulV2(x=a, y=b), of(dtype, 2, 2, 3), of(dtype, 2, 3, 2, seed=1)
        )
    family.add(
        "BatchMatMulV3_int8_int32",
        lambda a, b: raw.BatchMatMulV3(x=a, y=b, Tout=tf.int32),
        of("int8", 2, 2, 3),
        of("int8", 2, 3, 2, seed=1),
    )
    for a in (False, True):
        for b in (False, True):
            one, other = (3, 2) if a else (2, 3), (4, 3) if b else (3, 4)
            build = lambda x, y, a=a, b=b: raw.BatchMatMulV2(x=x, y=y, adj_x=a, adj_y=b)
            name = f"BatchMatMul{'_ax' if a else ''}{'_ay' if b else ''}"
            for front, behind in (((2,), (2,)), ((2, 1), (1, 3)), ((), (2,)), ((2, 2), ()), ((1,), (3,)), ((2, 1, 2), (2,))):
                shapes = "_".join("x".join(map(str, each)) or "none" for each in (front, behind))
                family.add(f"{name}_{shapes}", build, floats(*front, *one), floats(*behind, *other, seed=1))
            family.add(name, build, floats(3, *one), floats(3, *other, seed=1), unknown="batch")
            family.add(
                f"{name}_weights",
                lambda x, build=build, w=floats(*other, seed=1): build(x, tf.constant(w)),
                floats(3, *one),
                unknown="batch",
            )
            family.add(f"{name}_complex", build, complexes(2, *one), complexes(2, *other, seed=1))
    family.add("BatchMatMul_empty", lambda a, b: tf.matmul(a, b), floats(0, 2, 3), floats(0, 3, 2))
    family.add("BatchMatMul", lambda a, b: tf.matmul(a, b), floats(2, 2, 3), floats(2, 3, 2), unknown="rank")
    family.add("BatchMatMul_v1", lambda a, b: raw.BatchMatMul(x=a, y=b), floats(2, 2, 3), floats(2, 3, 2), form="v1")


def _einsums(family: Family) -> None:
    for equation, shapes in EINSUMS:
        arrays = [floats(*shape, seed=seed) for seed, shape in enumerate(shapes)]
        name = f"Einsum_{equation.replace('->', '_to_').replace(',', '_').replace('...', 'E')}"
        family.add(
            name,
            lambda *all_, e=equation: raw.Einsum(inputs=list(all_), equation=e) if len(all_) < 3 else tf.einsum(e, *all_),
            *arrays,
        )
        if len(shapes) == 2:
            family.add(f"{name}_weights", lambda x, e=equation, w=arrays[1]: tf.einsum(e, x, tf.constant(w)), arrays[0])
            if equation[0] in "bn.":
                family.add(
                    name,
                    lambda x, y, e=equation: tf.einsum(e, x, y),
                    *arrays,
                    shapes=[
                        (None, *shape[1:])
                        if place == 0 or (shape[0] == shapes[0][0] and equation.split(",")[1][0] == equation[0])
                        else shape
                        for place, shape in enumerate(shapes)
                    ],
                )
    for dtype in ("int32", "float64", "float16", "complex64"):
        family.add(f"Einsum_{dtype}", lambda a, b: tf.einsum("bij,bjk->bik", a, b), of(dtype, 2, 2, 3), of(dtype, 2, 3, 2))


def _structure(family: Family) -> None:
    for shape in ((3,), (2, 3), (2, 1, 3)):
        family.add(f"diag_{len(shape)}", tf.linalg.diag, floats(*shape))
    for k in (-2, -1, 1, 2):
        family.add(f"diag_k_{k}", lambda x, k=k: tf.linalg.diag(x, k=k), floats(2, 3))
    for align in ("LEFT_RIGHT", "RIGHT_LEFT", "LEFT_LEFT", "RIGHT_RIGHT"):
        family.add(f"diag_band_{align}", lambda x, a=align: tf.linalg.diag(x, k=(-1, 1), align=a), floats(2, 3, 4))
        family.add(f"diag_part_band_{align}", lambda x, a=align: tf.linalg.diag_part(x, k=(-1, 2), align=a), floats(2, 3, 4))
        family.add(
            f"set_diag_band_{align}",
            lambda x, d, a=align: tf.linalg.set_diag(x, d, k=(-1, 0), align=a),
            floats(2, 4, 4),
            floats(2, 2, 4),
        )
    family.add("diag_rectangular", lambda x: tf.linalg.diag(x, num_rows=4, num_cols=5, padding_value=7.0), floats(2, 3))
    for dtype in ("float32", "int32", "int64", "bool", "complex64", "uint8"):
        family.add(f"MatrixDiag_{dtype}", lambda x: raw.MatrixDiag(diagonal=x), of(dtype, 2, 3))
        family.add(f"MatrixDiagPart_{dtype}", lambda x: raw.MatrixDiagPart(input=x), of(dtype, 2, 3, 4))
        family.add(
            f"MatrixSetDiag_{dtype}",
            lambda x, d: raw.MatrixSetDiag(input=x, diagonal=d),
            of(dtype, 2, 3, 4),
            of(dtype, 2, 3, seed=1),
        )
    for op in ("MatrixDiagPartV3", "MatrixDiagPartV2"):
        for k in (-2, 1, 3):
            family.add(f"{op}_k_{k}", lambda x, k=k, op=op: getattr(raw, op)(input=x, k=k, padding_value=0.0), floats(2, 3, 4))
    family.add("MatrixDiag", tf.linalg.diag, floats(3, 2), unknown="batch")
    family.add("MatrixDiagPart", tf.linalg.diag_part, floats(3, 2, 2), unknown="batch")
    family.add("MatrixSetDiag", tf.linalg.set_diag, floats(3, 2, 2), floats(3, 2), unknown="batch")
    family.add("MatrixDiagPart_open", tf.linalg.diag_part, floats(2, 3, 2), unknown="sizes")
    family.add(
        "MatrixDiagV2", lambda x: raw.MatrixDiagV2(diagonal=x, k=1, num_rows=-1, num_cols=-1, padding_value=0.0), floats(2, 3)
    )
    family.add("MatrixSetDiagV2", lambda x, d: raw.MatrixSetDiagV2(input=x, diagonal=d, k=-1), floats(2, 4, 4), floats(2, 3))
    family.add("Diag", lambda x: raw.Diag(diagonal=x), floats(3))
    family.add("Diag_matrix", lambda x: raw.Diag(diagonal=x), floats(2, 2))
    family.add("DiagPart", lambda x: raw.DiagPart(input=x), floats(3, 3))
    family.add("DiagPart_rank4", lambda x: raw.DiagPart(input=x), floats(2, 3, 2, 3))
    family.add("trace", tf.linalg.trace, floats(2, 3, 3))
    for lower, upper in ((0, 0), (1, 1), (-1, 0), (0, -1), (2, -1), (1, 0)):
        family.add(f"MatrixBandPart_{lower}_{upper}", lambda x, a=lower, b=upper: tf.linalg.band_part(x, a, b), floats(2, 4, 3))
    for dtype in ("int32", "bool", "float16", "complex64"):
        family.add(f"MatrixBandPart_{dtype}", lambda x: tf.linalg.band_part(x, 1, 0), of(dtype, 3, 3))
    family.add("MatrixBandPart", lambda x: tf.linalg.band_part(x, -1, 0), floats(2, 3, 3), unknown="sizes")
    family.add(
        "causal_mask",
        lambda x: tf.linalg.band_part(tf.ones([tf.shape(x)[1], tf.shape(x)[1]]), -1, 0),
        floats(2, 4),
        unknown="sizes",
    )
    family.add("eye", lambda x: x + tf.eye(3), floats(3, 3))
    family.add("eye_rectangular", lambda x: x + tf.eye(2, 3), floats(2, 3))
    family.add("eye_batch", lambda x: x + tf.eye(3, batch_shape=[2]), floats(2, 3, 3))
    family.add("eye_at_run_time", lambda x: tf.eye(tf.shape(x)[0]), floats(3, 2), unknown="sizes")
    family.add("adjoint", tf.linalg.adjoint, complexes(2, 3, 2))
    family.add("matrix_transpose", tf.linalg.matrix_transpose, floats(2, 3, 4), unknown="batch")
    family.add("ConjugateTranspose", lambda x: raw.ConjugateTranspose(x=x, perm=[1, 0]), complexes(2, 3))
    family.add("kronecker", lambda a, b: tf.reshape(a[:, None, :, None] * b[None, :, None, :], [4, 6]), floats(2, 2), floats(2, 3))
    family.add("tensor_diag_part", tf.linalg.tensor_diag_part, floats(3, 3))
    family.add(
        "tridiagonal_matmul",
        lambda d, x: tf.linalg.tridiagonal_matmul(d, x, diagonals_format="compact"),
        floats(3, 4),
        floats(4, 2),
    )


def _regular(*shape: int) -> Array:
    size = shape[-1]
    return (floats(*shape, low=-1, high=1) + 3 * np.eye(size)).astype(np.float32)


def _positive(*shape: int) -> Array:
    matrix = _regular(*shape)
    return (matrix @ matrix.swapaxes(-1, -2)).astype(np.float32)


def _solving(family: Family) -> None:
    for size in (1, 2, 3, 4):
        for front in ((), (2,)):
            name = f"{size}x{size}" + ("_batch" if front else "")
            family.add(f"MatrixDeterminant_{name}", tf.linalg.det, _regular(*front, size, size))
            family.add(f"MatrixInverse_{name}", tf.linalg.inv, _regular(*front, size, size))
            family.add(f"Cholesky_{name}", tf.linalg.cholesky, _positive(*front, size, size))
            family.add(f"MatrixSolve_{name}", tf.linalg.solve, _regular(*front, size, size), floats(*front, size, 2))
    family.add("MatrixInverse_adjoint", lambda x: tf.linalg.inv(x, adjoint=True), _regular(3, 3))
    family.add("MatrixInverse", tf.linalg.inv, _regular(2, 3, 3), unknown="batch")
    family.add("MatrixInverse_pivots", tf.linalg.inv, np.array([[0, 1], [2, 3]], np.float32))
    family.add("MatrixDeterminant_pivots", tf.linalg.det, np.array([[0, 1, 2], [1, 0, 3], [4, -3, 8]], np.float32))
    family.add("MatrixSolve_adjoint", lambda a, b: tf.linalg.solve(a, b, adjoint=True), _regular(3, 3), floats(3, 2))
    family.add("LogMatrixDeterminant", lambda x: raw.LogMatrixDeterminant(input=x), _regular(2, 3, 3))
    family.add("slogdet", lambda x: tf.linalg.slogdet(x), _regular(3, 3))
    family.add("logdet", tf.linalg.logdet, _positive(2, 3, 3))
    for lower in (False, True):
        for adjoint in (False, True):
            triangle = np.tril(_regular(3, 3)) if lower else np.triu(_regular(3, 3))
            family.add(
                f"MatrixTriangularSolve{'_lower' if lower else ''}{'_adjoint' if adjoint else ''}",
                lambda a, b, lo=lower, ad=adjoint: tf.linalg.triangular_solve(a, b, lower=lo, adjoint=ad),
                triangle,
                floats(3, 2),
            )
    family.add("cholesky_solve", tf.linalg.cholesky_solve, np.linalg.cholesky(_positive(3, 3)), floats(3, 2))
    family.add("lstsq", lambda a, b: tf.linalg.lstsq(a, b), floats(4, 2), floats(4, 1))
    family.add("Lu", lambda x: tf.linalg.lu(x), _regular(3, 3))
    family.add("Qr", lambda x: tf.matmul(*tf.linalg.qr(x)), floats(4, 3))
    family.add("Qr_full", lambda x: tf.abs(tf.linalg.qr(x, full_matrices=True)[0]), floats(3, 3))
    family.add("Svd_values", lambda x: tf.linalg.svd(x, compute_uv=False), floats(3, 2))
    family.add("SelfAdjointEig_values", tf.linalg.eigvalsh, _positive(3, 3))
    family.add("matrix_power_by_hand", lambda x: tf.matmul(tf.matmul(x, x), x), _regular(3, 3))
    family.add("expm", tf.linalg.expm, floats(2, 2, low=-0.5, high=0.5))
    family.add("logm", lambda x: tf.math.real(tf.linalg.logm(tf.cast(x, tf.complex64))), _positive(2, 2))
    family.add("sqrtm", tf.linalg.sqrtm, _positive(2, 2))
    family.add("pinv", tf.linalg.pinv, floats(3, 2))
    family.add(
        "tridiagonal_solve",
        lambda d, b: tf.linalg.tridiagonal_solve(d, b),
        np.stack([floats(4), floats(4) + 5, floats(4, seed=1)]).astype(np.float32),
        floats(4),
    )
    family.add(
        "banded_triangular_solve", lambda a, b: tf.linalg.banded_triangular_solve(a, b), np.abs(floats(2, 4)) + 1, floats(4, 2)
    )
    family.add("matrix_norm", lambda x: tf.norm(x, ord="fro", axis=[-2, -1]), floats(2, 3, 4))
    family.add("normalize", lambda x: tf.linalg.normalize(x, axis=1)[0], floats(3, 4), unknown="batch")
    family.add("global_norm", lambda a, b: tf.linalg.global_norm([a, b]), floats(3), integers(2, 2).astype(np.float32))
