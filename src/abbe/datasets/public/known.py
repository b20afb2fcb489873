"""Known public data sets: what each is, its licence, and where it is from."""

import textwrap
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Source:
    """One file: where it is, its checksums if known, and the folder into which it is unpacked.

    It is a zip or tar.gz file, or, where ``folder`` is None, one that stays as it is. An archive
    that unpacks to more than ``largest`` bytes is refused.
    """

    url: str
    folder: str | None
    sha256: str | None = None
    md5: str | None = None
    largest: int = 4 << 30

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class KnownSet:
    """A line of ``abbe data list``: ``origin`` is the official page, or who makes the set.

    Without ``sources``, ``by_hand`` says what to do there, and how Abbe is told of the files.
    """

    name: str
    what: str
    licence: str
    size: str
    origin: str
    sources: tuple[Source, ...] = ()
    by_hand: str = ""


_BROAD = "https://data.broadinstitute.org/bbbc/BBBC038"
_HC18 = "https://zenodo.org/records/1327317/files"
_NCT_CRC = "https://zenodo.org/records/1214456/files"
_PANNUKE = "https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke"

KNOWN_SETS = MappingProxyType(
    {
        known.name: known
        for known in (
            KnownSet(
                name="simulated",
                what="multiplexed tissue from Abbe's simulator: nucleus, membrane, cytoplasm; "
                "true instances",
                licence="made on the spot, no restriction",
                size="any number of images",
                origin="Abbe itself",
                by_hand="There is nothing to fetch: abbe.datasets.simulated_tissue makes it, and "
                "so does --data.kind simulated",
            ),
            KnownSet(
                name="bbbc038",
                what="nuclei of the 2018 Data Science Bowl, stage 1: 670 labelled images "
                "(fluorescence, H&E, purple on white, bright-field: the column modality) and 65 to "
                "test on, whose labels are in stage1_solution.csv: get it from the page below and "
                "put it beside the zip files, which are read as they come",
                licence="CC0 1.0",
                size="about 90 MB",
                origin="https://bbbc.broadinstitute.org/BBBC038",
                sources=(
                    # The publisher states no checksum. This one is what several independent public
                    # projects recorded for their downloads of the file.
                    Source(
                        f"{_BROAD}/stage1_train.zip",
                        "stage1_train",
                        "dcb6edc2690f137406638b2309581a71522c4dff19157d118453b448dcddcb68",
                    ),
                    # No record found: the first download's sum is kept and compared from then on.
                    Source(f"{_BROAD}/stage1_test.zip", "stage1_test"),
                ),
            ),
            KnownSet(
                name="tissuenet",
                what="multiplexed tissue: nucleus and membrane; over a million cells and nuclei",
                licence="non-commercial, academic use only",
                size="version 1.1 unpacked: about 15 GB (7,022 images at 4 bytes a value)",
                origin="https://datasets.deepcell.org",
                by_hand="Log in at datasets.deepcell.org, accept the licence and download the "
                "version 1.1 archive; unpack it and give the folder of its three files, "
                "tissuenet_v1.1_train.npz, …_val.npz and …_test.npz: "
                "--data.kind tissuenet --data.path FOLDER. One .npz alone has one split only, and "
                "nothing to test on",
            ),
            KnownSet(
                name="kvasir",
                what="Kvasir-SEG: polyps in 1,000 images of colonoscopy; patients are not known",
                licence="research and education only; commercial use needs permission",
                size="46 MB",
                origin="https://datasets.simula.no/kvasir-seg",
                sources=(
                    # The sum that several independent public projects recorded.
                    Source(
                        "https://datasets.simula.no/downloads/kvasir-seg.zip",
                        "Kvasir-SEG",
                        "03b30e21d584e04facf49397a2576738fd626815771afbbf788f74a7153478f7",
                    ),
                ),
            ),
            KnownSet(
                name="isic2017",
                what="ISIC 2017, task 1: outlines of skin lesions in dermoscopy; 2,000 images for "
                "training, 150 for validation, 600 for test",
                licence="CC0 1.0",
                size="about 12 GB",
                origin="https://challenge.isic-archive.com/data/#2017",
                by_hand="Download the archives of Data and of Part1_GroundTruth and unpack them "
                "into one folder: --data.kind isic2017 --data.path FOLDER",
            ),
            KnownSet(
                name="hc18",
                what="HC18: heads of fetuses in ultrasound; 999 images with an ellipse, 335 "
                "without",
                licence="CC BY 4.0",
                size="177 MB",
                origin="https://doi.org/10.5281/zenodo.1327317",
                # Zenodo publishes MD5 sums; these were recorded for files that agree with them.
                sources=(
                    Source(
                        f"{_HC18}/training_set.zip",
                        "training_set",
                        "fd20d7909df892cfbdc0850de18072dbdad4dc3bc0a57202d4cc818d4715de36",
                    ),
                    Source(
                        f"{_HC18}/training_set_pixel_size_and_HC.csv",
                        None,
                        "1c08fa81c374c5f9509f3aa6a6568e4dc6cc5434ff82d0df731db7e4f25816b3",
                    ),
                    Source(
                        f"{_HC18}/test_set.zip",
                        "test_set",
                        "6356d1171e5805dabb83af72c13eb2b32fc3d6c0c2015c58eb9ee083521e9bdd",
                    ),
                    Source(
                        f"{_HC18}/test_set_pixel_size.csv",
                        None,
                        "215970c7334fcb3794c88d39cbe33fe334f4323cbce8cddeeda04aa5c0faf227",
                    ),
                ),
            ),
            KnownSet(
                name="busi",
                what="BUSI: breast ultrasound, 437 benign, 210 malignant and 133 normal images; "
                "many images occur twice, and patients are not known",
                licence="CC BY 4.0 by its paper; the download page states none",
                size="about 200 MB",
                origin="https://doi.org/10.1016/j.dib.2019.104863",
                # No sum is published: the first download's is kept and compared from then on.
                sources=(
                    Source("https://scholar.cu.edu.eg/Dataset_BUSI.zip", "Dataset_BUSI_with_GT"),
                ),
            ),
            KnownSet(
                name="nct_crc",
                what="NCT-CRC-HE-100K and CRC-VAL-HE-7K: H&E tiles of colon in nine tissues, "
                "100,000 for training (patients not published) and 7,180 of other patients",
                licence="CC BY 4.0",
                size="11.7 GB and 0.8 GB; unpacked 15 GB and 1.1 GB",
                origin="https://zenodo.org/records/1214456",
                sources=(
                    # The MD5 sums that Zenodo states for these files.
                    Source(
                        f"{_NCT_CRC}/NCT-CRC-HE-100K.zip",
                        "NCT-CRC-HE-100K",
                        md5="6fd702d11df6292bc054397ae038a464",
                        largest=20 << 30,
                    ),
                    Source(
                        f"{_NCT_CRC}/CRC-VAL-HE-7K.zip",
                        "CRC-VAL-HE-7K",
                        md5="2fd1651b4f94ebd818ebf90ad2b6ce06",
                    ),
                ),
            ),
            KnownSet(
                name="bach",
                what="BACH (ICIAR 2018), part A: 400 H&E images of breast: normal, benign, in "
                "situ, invasive; patients are not in the names",
                licence="CC BY-NC-ND 4.0",
                size="10.4 GB",
                origin="https://zenodo.org/records/3632035",
                sources=(
                    # The MD5 sum that Zenodo states.
                    Source(
                        "https://zenodo.org/records/3632035/files/ICIAR2018_BACH_Challenge.zip",
                        "ICIAR2018_BACH_Challenge",
                        md5="8ae1801334aa943c44627c1eef3631b2",
                        largest=40 << 30,  # part B, whole slides, is in the archive, too
                    ),
                ),
            ),
            KnownSet(
                name="breakhis",
                what="BreakHis: 7,909 H&E images of breast tumours of 82 patients, eight types, at "
                "four magnifications",
                licence="CC BY 4.0",
                size="4.3 GB",
                origin="https://web.inf.ufpr.br/vri/databases/"
                "breast-cancer-histopathological-database-breakhis",
                # No sum is published: the first download's is kept and compared from then on.
                sources=(
                    Source(
                        "https://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz",
                        "BreaKHis_v1",
                        largest=8 << 30,
                    ),
                ),
            ),
            KnownSet(
                name="chaoyang",
                what="Chaoyang: 6,160 H&E tiles of colon: normal, serrated, adenocarcinoma, "
                "adenoma; labels of the training part are noisy; patients not published",
                licence="non-commercial; not to be passed on",
                size="not stated",
                origin="https://bupt-ai-cz.github.io/HSA-NRL",
                by_hand="Ask the authors for it, as the page says; unpack it and give the folder "
                "of train.json and test.json: --data.kind chaoyang --data.path FOLDER",
            ),
            KnownSet(
                name="glas",
                what="GlaS: glands in 165 H&E images of colon of 16 patients, benign and malignant",
                licence="research only, no commercial use",
                size="about 170 MB",
                origin="https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest",
                by_hand="Download warwick_qu_dataset_released_2016_07_08.zip from the page, which "
                "may ask you to register or sign in; unpack it and give the folder of Grade.csv: "
                "--data.kind glas --data.path FOLDER",
            ),
            KnownSet(
                name="bcss",
                what="BCSS: tissue regions (21 codes, read as five classes) in 151 H&E images of "
                "breast cancer from TCGA",
                licence="CC0 1.0",
                size="about 5 GB",
                origin="https://github.com/PathologyDataScience/BCSS",
                by_hand="The page links the masks and the colour-normalised images at 0.25 µm "
                "(Google Drive), and holds a script that downloads them; put both folders, masks "
                "and rgbs_colorNormalized, into one: --data.kind bcss --data.path FOLDER",
            ),
            KnownSet(
                name="pannuke",
                what="PanNuke: nuclei of five types in 7,904 H&E tiles of 19 organs, in three "
                "folds",
                licence="CC BY-NC-SA 4.0",
                size="2.1 GB; unpacked 37 GB",
                origin="https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke",
                # The publisher states no sums. These are what several independent public projects
                # recorded for their downloads.
                sources=tuple(
                    Source(f"{_PANNUKE}/fold_{fold}.zip", f"fold_{fold}", sha256, largest=16 << 30)
                    for fold, sha256 in enumerate(
                        (
                            "6e19ad380300e8ce9480f9ab6a14cc91fa4b6a511609b40e3d70bdf9c881ed0b",
                            "5bc540cc509f64b5f5a274d6e5a245527dbd3e6d3155d43555115c5d54709b07",
                            "c14d372981c42f611ebc80afad01702b89cad8c1b3089daa31931cf5a4b1a39d",
                        ),
                        start=1,
                    )
                ),
            ),
            KnownSet(
                name="monuseg",
                what="MoNuSeg 2018: outlines of nuclei in 37 training and 14 test H&E images from "
                "TCGA",
                licence="CC BY-NC-SA 4.0",
                size="not stated",
                origin="https://monuseg.grand-challenge.org/Data",
                by_hand="Download the training and the test data that the page links (Google "
                "Drive; the test data may need an account there); unpack both into one folder: "
                "--data.kind monuseg --data.path FOLDER",
            ),
            KnownSet(
                name="nucls",
                what="NuCLS: over 220,000 nuclei of breast cancer from TCGA, in part outlined, in "
                "part boxed, with types",
                licence="CC0 1.0",
                size="not stated",
                origin="https://sites.google.com/view/nucls",
                by_hand="Download a folder of the single-rater or multi-rater data that the page "
                "links (Google Drive), with its parts rgb and csv: "
                "--data.kind nucls --data.path FOLDER",
            ),
        )
    }
)


def known_sets() -> str:
    """The table of known sets as text: what each is, its licence, size and origin."""
    blocks: list[str] = []
    for known in KNOWN_SETS.values():
        facts = {"licence": known.licence, "size": known.size, "from": known.origin}
        if known.sources:
            facts["fetch"] = f"abbe data fetch {known.name} FOLDER"
        elif known.by_hand:
            facts["by hand"] = ("\n" + " " * 13).join(textwrap.wrap(known.by_hand, 80))
        lines = [known.name, *textwrap.wrap(known.what, 90)]
        lines += [f"{name:<9}{value}" for name, value in facts.items()]
        blocks.append("\n    ".join(lines))
    return "\n\n".join(blocks)
