"""Files of npm packages that the page needs, each pinned by its checksum."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NpmPackage:
    """A version of an npm package, and the files of it that the page needs.

    Attributes:
        name, version: As npm has them.
        licence: Its licence.
        files: SHA-256 by path in the package.
    """

    name: str
    version: str
    licence: str
    files: Mapping[str, str]

    @property
    def spec(self) -> str:
        """What npm calls it."""
        return f"{self.name}@{self.version}"


ONNXRUNTIME = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "MIT",
    {
        "dist/ort.wasm.min.mjs":
            "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
        "dist/ort-wasm-simd-threaded.mjs":
            "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        "dist/ort-wasm-simd-threaded.wasm":
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "dist/ort.webgpu.min.mjs":
            "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
        "dist/ort-wasm-simd-threaded.asyncify.mjs":
            "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
        "dist/ort-wasm-simd-threaded.asyncify.wasm":
            "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    },
)  # fmt: skip
GEOTIFF = NpmPackage(
    "geotiff",
    "3.0.5",
    "MIT",
    {
        "dist-browser/geotiff.js":
            "8cfc01ffc945904766d8fb89f19da7afb799e342834454f5592fbcf0bcfe2db5",
        "LICENSE": "da0811089f254e909f69f75fa496ca97e5167a8eaa945d9a6bffdd8499b47a49",
    },
)  # fmt: skip
ZARRITA = NpmPackage(
    "zarrita",
    "0.7.5",
    "MIT",
    {
        "dist/src/codecs.js":
            "621474b3b99edda0074ee5ca5ad425f2fa66a2e80b45bac4868a939a520bbd7a",
        "dist/src/codecs/_shared.js":
            "e3909af7aee96bb18c307ffff40519aa2d0edc74741e580a15a86db4f4a40807",
        "dist/src/codecs/bitround.js":
            "597b308356f403f675345ba5f27d7113b1e46f2234f1d8f23d91301baf2dfaa9",
        "dist/src/codecs/bytes.js":
            "80ce02e7ae603418ded1a4c0b699ceaf3947bf367cb05819f0e3093841379ad1",
        "dist/src/codecs/cast_value.js":
            "88ae394b162cc343b43b74d58ae4aa921012f3bb60a87ff55f4e6abec58521a1",
        "dist/src/codecs/crc32c.js":
            "a9092b9dd36a8e577c716fde65920b9e63fbc10fada4ea0b50c709c31af76c22",
        "dist/src/codecs/delta.js":
            "d93c6753b13da9af4230d0deca372b82ed09cbfd595ae51db93b25689acb6cef",
        "dist/src/codecs/gzip.js":
            "17117b26831e65d736025d33c090d3461e9d12eb9e9c65bc9d61152398e9a27c",
        "dist/src/codecs/json-scalar.js":
            "8fefe24604b6f42d5fc2c2be78afa0503d66cfd0fbda1b0c41e8059f1309ac99",
        "dist/src/codecs/json2.js":
            "a00082fe6daf850d374e8117f546921fa587f8d85b786d588ccbb04944db38d4",
        "dist/src/codecs/scale_offset.js":
            "3defebbc44ad873a63d79176e08cbe4b384580342a1e439e28fb38346be46c0c",
        "dist/src/codecs/sharding.js":
            "4ab25f30078d9be06b6c2e96efca94ab6d8ea404092d4ba06c82f0b67f9d80aa",
        "dist/src/codecs/shuffle.js":
            "0c3793e2e48ffd01145200e650dfc3d6ef39228a64e0d6c3e91a47f106250e60",
        "dist/src/codecs/transpose.js":
            "af242ec2a7ba3e7224763dcad904f95e3e155d2453f140ba170774cb2c7e6a78",
        "dist/src/codecs/vlen-utf8.js":
            "322218b2f792b89c453273bd94726e680e67016da8c13dde547c498b0cedd699",
        "dist/src/codecs/zlib.js":
            "488c10f063789501e621b22619721ecf6e3fc2a5243f40942059547d204f1032",
        "dist/src/create.js":
            "b7a2c1a2f8252db63fe5e2ace28b346fce3fc94d34876667823b6b215aee3acf",
        "dist/src/errors.js":
            "b755e68e50c29a4a710b50e7f676fdca5a0c28be42aa54dd61b71d3692d751fc",
        "dist/src/extension/caching.js":
            "1149222a82f2338450779bdd68ce84f11ceb5c5b21e328737ee29e291b023069",
        "dist/src/extension/consolidation.js":
            "947f7b0c51c1c1c917765bd4bc84c457ea1cc9ce66b8cd0ea41291d7936342c4",
        "dist/src/extension/define-array.js":
            "5b595d474090453078d98a240d92bc6e6d00a3ce0867853423a5c721635ee52c",
        "dist/src/extension/define.js":
            "1fb58d448d50abf11382ecb77fd965578f8c413b74178a93165e7a56ccd1bc6d",
        "dist/src/extension/extend-array.js":
            "dd7d52c4a5260eb2be23e8df093fb70e52e3c7f63510e321649f6b8328ab63f5",
        "dist/src/extension/extend-store.js":
            "12ec53ee14c97c02149e8889ad50f60ea9ac38b7884ff158f543168555d33738",
        "dist/src/extension/extend.js":
            "b6e12697c0b7ee9d5e0d7c891728ca39c3aaa5ad36f3c297b27ccbc9dc576e0d",
        "dist/src/extension/range-coalescing.js":
            "224626d1a8d514d78046c08e8ef5322ea8803ee0a208a98d9b21e36c9202747c",
        "dist/src/hierarchy.js":
            "a7a4555a09871353b0119d4478aa392b87e51089088c12cc9b34bbbe44dfd019",
        "dist/src/index.js":
            "8a6cb46887e37ea973e508ebc3b7eb047f6e87f55965ae0b702d09bf3407da7e",
        "dist/src/indexing/get.js":
            "e70d91df65fdcc4ca7ae00d7288a534839909e927488ef4dc4397369ab71e880",
        "dist/src/indexing/indexer.js":
            "455e4ccf671d0b22637bbc236d75567e10ad5b489c1fdb4d172dcc159470b7b8",
        "dist/src/indexing/ops.js":
            "df7b7e2bc23060bc6dbef424590d9a228b4e42c00c75a35363353e5144d48048",
        "dist/src/indexing/set.js":
            "3c4c9027a30ea618aba2e53cdc5f8ec1b234eaa6129f942f9de8cf2c2227c19d",
        "dist/src/indexing/util.js":
            "7a44ff70f7485407840d7ba2e2b5c24c016397087c778ada128655ae7d2ec0a7",
        "dist/src/open.js":
            "41080ca6fb09d66993ccc498b8506fdf797589b8cd4362140c904cb5e4a74752",
        "dist/src/typedarray.js":
            "792f8b698f7a6fda3031f8bf497765898fe8386464b6ec53eb060343481431bc",
        "dist/src/util.js":
            "26fc2a6198e43cc7858abfa6dbd6de7ffe7ab8df753574b576b9762d399ed20f",
        "LICENSE":
            "5cf6038da98164b5e3de3c38b6361b81a3cfd3bee73e56c9dae28798dbe19892",
    },
)  # fmt: skip
ZARR_STORAGE = NpmPackage(
    "@zarrita/storage",
    "0.2.0",
    "MIT",
    {
        "dist/src/fetch.js":
            "9e82055c830e4d88e2f371a4f3b4db0a9ee62c85b7f7736778f02f7ef52bdc52",
        "dist/src/util.js":
            "26b624f78b7bb57a987d17788369a57edf02a5862eae2ea132ec5704a8e5703a",
    },
)  # fmt: skip
NUMCODECS = NpmPackage(
    "numcodecs",
    "0.3.2",
    "MIT",
    {
        "dist/blosc.js":
            "2058d97e637d1437a69400709410bf14cdc93fca5bee3ff5d47fcce7857d444b",
        "dist/lz4.js":
            "7859c20b679e57289952730073045db921b1186f03144ec92149a0f3451cca87",
        "dist/zstd.js":
            "c7e09998925d19ce8b2212de191d07478efac46d91bcdeb71ef0449f5cc39d46",
        "dist/chunk-INHXZS53.js":
            "73f3299e7103f9a9e0dfad5d24cd4076c5a995dbebaecda7f248b03c0df13bd9",
    },
)  # fmt: skip
PACKAGES = (ONNXRUNTIME, GEOTIFF, ZARRITA, ZARR_STORAGE, NUMCODECS)
