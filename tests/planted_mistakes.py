"""Mistakes planted into valid configurations: where each is, its code, and what is suggested.

In a case `old` is replaced by `new`, in which «...» marks the text that the caret is to point at.
"""

from typing import NamedTuple

VALID = """\
version: 1
name: planted
seed: 3
vars: {width: 64}
data:
  type: mnist
  split: {val: 0.1}
  batch_size: 128
  workers: 0
  transforms: [to_float, {normalize: {mean: 0.5, std: 0.25}}]
model:
  layers:
    - Conv2d: [8, 3]
    - Flatten
    - Linear: $vars.width
    - ReLU
    - Dropout: 0.2
    - Linear: {out_features: $data.num_classes}
loss: {type: cross_entropy, label_smoothing: 0.1}
optim: {type: adamw, lr: 1e-3, weight_decay: 0.01}
schedule: {type: cosine, warmup: 1 epoch}
train: {epochs: 5, clip: {norm: 1.0}, accumulate: 2}
eval: {every: 1 epoch}
metrics: [accuracy]
checkpoint: {every: 1 epoch, keep: {last: 2, best: 1}, monitor: val/accuracy, mode: max}
early_stop: {monitor: val/loss, patience: 2}
"""


class Planted(NamedTuple):
    name: str
    code: str
    old: str
    new: str
    suggestion: str = ""


CASES = [
    # syntax
    Planted("tab", "TL104", "  type: mnist", "«\t»type: mnist", "spaces"),
    Planted("unclosed bracket", "TL106", "transforms: [", "transforms: «[»[", "]"),
    Planted("unclosed brace", "TL106", "split: {val: 0.1}", "split: «{»val: 0.1", "}"),
    Planted("unclosed quote", "TL106", "name: planted", "name: «'»planted", "quote"),
    Planted("indentation", "TL105", "  workers: 0", "   workers«:» 0", "indentation"),
    Planted("outdented item", "TL105", "    - ReLU", "   «-» ReLU", "align"),
    Planted("key without colon", "TL101", "seed: 3", "«seed 3\nvars»", "key: value"),
    Planted("colon in text", "TL105", "name: planted", "name: a«:» b", "quote"),
    Planted("duplicate key", "TL103", "seed: 3", "seed: 3\n«seed»: 4", "line 3"),
    Planted("duplicate section", "TL103", "metrics: [", "«train»: {epochs: 1}\nmetrics: [", "line 22"),
    Planted("tag", "TL108", "seed: 3", "seed: «!!python/object:os.system» 3", "remove"),
    Planted("merge key", "TL108", "train: {epochs: 5", "train: {«<<»: {}, epochs: 5", "extends"),
    Planted("unknown alias", "TL108", "seed: 3", "seed: «*three»", "anchor"),
    Planted("second document", "TL108", "early_stop:", "«---»\nearly_stop:", "one document"),
    Planted("control character", "TL102", "name: planted", "name: plan«\x07»ted"),
    # keys
    Planted("section", "TL201", "optim:", "«optm»:", "did you mean 'optim'?"),
    Planted("section of another tool", "TL201", "optim:", "«optimizer»:", "did you mean 'optim'?"),
    Planted("section nobody knows", "TL201", "seed: 3", "seed: 3\n«zebra»: 1", "keys are"),
    Planted("data key", "TL201", "batch_size", "«batchsize»", "did you mean 'batch_size'?"),
    Planted("data key of another tool", "TL201", "workers: 0", "«num_workers»: 0", "did you mean 'workers'?"),
    Planted("split key", "TL201", "{val: 0.1}", "{val: 0.1, «sed»: 1}", "did you mean 'seed'?"),
    Planted("transforms key", "TL201", "transforms: [to_float", "transforms: {«trian»: [to_float]}\n  #"),
    Planted("model key", "TL201", "  layers:", "  «layer»:", "did you mean 'layers'?"),
    Planted("train key", "TL201", "accumulate: 2", "«acumulate»: 2", "did you mean 'accumulate'?"),
    Planted("clip key", "TL201", "{norm: 1.0}", "{«nrom»: 1.0}", "did you mean 'norm'?"),
    Planted("keep key", "TL201", "{last: 2,", "{«lst»: 2,", "did you mean 'last'?"),
    Planted("checkpoint key", "TL201", "mode: max}", "«moed»: max}", "did you mean 'mode'?"),
    Planted("early_stop key", "TL201", "patience: 2", "«patence»: 2", "did you mean 'patience'?"),
    Planted("schedule key", "TL201", "warmup: 1", "«warmpu»: 1", "did you mean 'warmup'?"),
    Planted("type of a component", "TL201", "optim: {type:", "optim: {«tpye»:", "did you mean 'type'?"),
    # missing
    Planted("no version", "TL204", "version: 1\n", "«»"),
    Planted(
        "no batch size",
        "TL204",
        "data:\n  type: mnist\n  split: {val: 0.1}\n  batch_size: 128",
        "«data»:\n  type: mnist\n  split: {val: 0.1}",
    ),
    Planted(
        "no length",
        "TL204",
        "train: {epochs: 5, ",
        "«train»: {",
    ),
    Planted(
        "no patience", "TL204", "early_stop: {monitor: val/loss, patience: 2}", "«early_stop»: {monitor: val/loss}"
    ),
    Planted("no layers", "TL204", VALID[VALID.index("model:") : VALID.index("loss:")], "«model»: {}\n"),
    Planted("no monitor", "TL204", "early_stop: {monitor: val/loss, ", "«early_stop»: {"),
    # types and ranges
    Planted("text for an integer", "TL202", "batch_size: 128", "batch_size: «128a»"),
    Planted("quoted integer", "TL202", "batch_size: 128", 'batch_size: «"128"»', "quotes"),
    Planted("boolean for an integer", "TL202", "epochs: 5", "epochs: «true»"),
    Planted("float for an integer", "TL202", "epochs: 5", "epochs: «2.5»"),
    Planted("yes for true", "TL202", "workers: 0", "download: «yes»", "write true"),
    Planted("list for a mapping", "TL202", "{norm: 1.0}", "«[1.0]»"),
    Planted("text for a mapping", "TL202", "split: {val: 0.1}", "split: «10%»"),
    Planted("mapping for a list", "TL202", "metrics: [accuracy]", "metrics: «{accuracy: 1}»"),
    Planted("null", "TL202", "batch_size: 128", "batch_size: «null»"),
    Planted("negative", "TL205", "workers: 0", "workers: «-1»"),
    Planted("zero batch", "TL205", "batch_size: 128", "batch_size: «0»"),
    Planted("fraction above one", "TL205", "val: 0.1", "val: «10»"),
    Planted("one checkpoint", "TL205", "last: 2", "last: «1»"),
    Planted("name with a slash", "TL205", "name: planted", "name: «a/b»"),
    Planted("infinite", "TL202", "norm: 1.0", "norm: «.inf»"),
    Planted(
        "no layers at all", "TL205", VALID[VALID.index("model:") : VALID.index("loss:")], "model: {layers: «[]»}\n"
    ),
    Planted("mode", "TL206", "mode: max", "mode: «maxi»", "did you mean 'max'?"),
    Planted("device", "TL206", "accumulate: 2", "device: «gpu»", "did you mean 'cuda'?"),
    Planted("version", "TL212", "version: 1", "version: «2»", "version 1"),
    Planted("bare duration", "TL209", "eval: {every: 1 epoch}", "eval: {every: «100»}", "100 steps"),
    Planted("unit of a duration", "TL209", "warmup: 1 epoch", "warmup: «1 epcoh»", "epochs"),
    Planted("half a step", "TL209", "warmup: 1 epoch", "warmup: «0.5 steps»", "whole"),
    Planted("epochs and steps", "TL211", "epochs: 5", "epochs: 5, «steps»: 100", "one of the two"),
    Planted("norm and value", "TL211", "norm: 1.0", "norm: 1.0, «value»: 1.0", "one of the two"),
    Planted("layers and type", "TL211", "  layers:", "  type: ReLU\n  «layers»:", "one of the two"),
    # components
    Planted("layer", "TL303", "- Flatten", "- «Flaten»", "did you mean 'Flatten'?"),
    Planted("layer in lower case", "TL303", "- Linear: $", "- «linear»: $", "did you mean 'Linear'?"),
    Planted("layer with its module", "TL303", "- ReLU", "- «nn.ReLU»", "did you mean 'ReLU'?"),
    Planted("loss", "TL303", "type: cross_entropy", "type: «crossentropy»", "did you mean 'cross_entropy'?"),
    Planted("loss by its class", "TL303", "type: cross_entropy", "type: «CrossEntropyLoss»", "'cross_entropy'?"),
    Planted("optimizer", "TL303", "type: adamw", "type: «admw»", "did you mean 'adamw'?"),
    Planted("schedule", "TL303", "type: cosine", "type: «cosin»", "did you mean 'cosine'?"),
    Planted(
        "schedule by another word", "TL303", "type: cosine, warmup: 1 epoch", "type: «plateau»", "ReduceLROnPlateau"
    ),
    Planted("checkpoints at leisure", "TL201", "mode: max}", "mode: max, «async»: true}", "whole before the next step"),
    Planted("metric", "TL303", "metrics: [accuracy]", "metrics: [«acuracy»]", "did you mean 'accuracy'?"),
    Planted("transform", "TL303", "[to_float", "[«tofloat»", "did you mean 'to_float'?"),
    Planted("dataset", "TL303", "type: mnist", "type: «minst»", "did you mean 'mnist'?"),
    Planted("argument of the optimizer", "TL203", "weight_decay", "«weight_decy»", "did you mean 'weight_decay'?"),
    Planted("argument of a layer", "TL203", "{out_features:", "{«out_feature»:", "did you mean 'out_features'?"),
    Planted("argument of the loss", "TL203", "label_smoothing", "«label_smoothin»", "did you mean 'label_smoothing'?"),
    Planted("argument of a transform", "TL203", "std: 0.25", "«stdev»: 0.25, std: 1", "normalize takes"),
    Planted(
        "argument of another optimizer", "TL405", "{type: adamw, lr: 1e-3,", "{type: adamw, «momentum»: 0.9,", "sgd"
    ),
    Planted(
        "weight decay without effect",
        "TL405",
        "adamw, lr: 1e-3, weight_decay",
        "plain, lr: 1e-3, «weight_decay»",
        "adamw",
    ),
    Planted("missing argument", "TL207", "Conv2d: [8, 3]", "«Conv2d»: [8]"),
    Planted("missing all arguments", "TL207", "Linear: $vars.width", "«Linear»"),
    Planted("too many arguments", "TL208", "Dropout: 0.2", "Dropout: [0.2, true, «1»]", "p, inplace"),
    Planted("text for a number", "TL210", "lr: 1e-3", "lr: «fast»"),
    Planted("boolean for a count", "TL210", "Linear: $vars.width", "Linear: «true»"),
    Planted("three for a pair", "TL210", "Conv2d: [8, 3]", "Conv2d: [8, «[3, 3, 3]»]"),
    Planted("negative rate", "TL205", "lr: 1e-3", "lr: «-1e-3»"),
    Planted("probability above one", "TL205", "Dropout: 0.2", "Dropout: «20»"),
    Planted("no features", "TL205", "Linear: $vars.width", "Linear: «0»"),
    Planted("two layers in one item", "TL213", "- ReLU", "- {«ReLU»: null, Dropout: 0.5}", "type"),
    Planted("number for a layer", "TL213", "- ReLU", "- «7»"),
    Planted("class of unlisted code", "TL307", "- ReLU", "- «mine:Block»", "code: [mine.py]"),
    Planted("code that is not there", "TL307", "seed: 3", "seed: 3\ncode: [«theirs.py»]", "relative"),
    # references
    Planted("reference", "TL301", "$vars.width", "«$vars.widht»", "did you mean 'width'?"),
    Planted("section of a reference", "TL301", "$vars.width", "«$var.width»", "did you mean 'vars'?"),
    Planted("fact of the dataset", "TL301", "$data.num_classes", "«$data.num_clases»", "did you mean 'num_classes'?"),
    Planted("circle", "TL302", "{width: 64}", "{width: «$vars.width»}"),
    Planted("environment", "TL308", "name: planted", 'name: «"${env:TORCHLITE_NOT_SET}"»', "default"),
    Planted("expression", "TL304", "$vars.width", '«"${vars.width +}"»'),
    Planted("call", "TL304", "$vars.width", "«\"${__import__('os')}\"»"),
    Planted("division by zero", "TL304", "$vars.width", '«"${vars.width // 0}"»'),
    Planted("text in arithmetic", "TL304", "$vars.width", '«"${name * 2}"»'),
    Planted("extended file", "TL305", "seed: 3", "seed: 3\nextends: «nowhere.yaml»", "relative"),
    Planted("file that extends itself", "TL306", "seed: 3", "seed: 3\nextends: «main.yaml»"),
    # semantics
    Planted("monitor", "TL401", "monitor: val/loss", "monitor: «val/los»", "did you mean 'val/loss'?"),
    Planted("monitor without val", "TL401", "monitor: val/accuracy", "monitor: «accuracy»", "'val/accuracy'?"),
    Planted(
        "monitor without metric",
        "TL401",
        "metrics: [accuracy]\ncheckpoint: {every: 1 epoch, keep: {last: 2, best: 1}, monitor: val/accuracy",
        "checkpoint: {every: 1 epoch, keep: {last: 2, best: 1}, monitor: «val/accuracy»",
        "metrics: [accuracy]",
    ),
    Planted("ignored argument", "TL402", "warmup: 1 epoch", "warmup: 1 epoch, «gamma»: 0.1"),
    Planted(
        "seed of no split",
        "TL402",
        "split: {val: 0.1}\n  batch_size: 128\n  workers: 0",
        "split: {seed: «1»}\n  batch_size: 128",
    ),
    Planted("warm-up", "TL404", "warmup: 1 epoch", "warmup: «6 epochs»"),
    Planted("warm-up in steps", "TL404", "warmup: 1 epoch", "warmup: «5000 steps»"),
    Planted("accumulation", "TL406", "accumulate: 2", "accumulate: «500»"),
    Planted("empty split", "TL407", "val: 0.1", "val: «1e-6»"),
    Planted("wrong direction", "TL408", "mode: max", "mode: «min»"),
    Planted("patience", "TL409", "patience: 2", "patience: «50»"),
    Planted(
        "fp16 with an optimizer that evaluates the loss",
        "TL412",
        "optim: {type: adamw, lr: 1e-3, weight_decay: 0.01}\nschedule: {type: cosine, warmup: 1 epoch}\ntrain: {",
        "optim: {type: lbfgs}\nschedule: {type: cosine, warmup: 1 epoch}\ntrain: {precision: «fp16», ",
        "bf16",
    ),
    Planted("precision", "TL206", "train: {epochs: 5", "train: {precision: «fp8», epochs: 5"),
    Planted("no full batch", "TL410", "batch_size: 128", "drop_last: true\n  batch_size: «100000»"),
    Planted("never evaluated", "TL411", "eval: {every: 1 epoch}", "eval: {every: «9 epochs»}"),
    Planted("metric twice", "TL214", "[accuracy]", "[accuracy, «accuracy»]"),
]


INCLUDED = [
    ("value", "TL202", "data: {batch_size: «no»}", ""),
    ("unknown key", "TL201", "train: {«epcohs»: 3}", "did you mean 'epochs'?"),
    ("argument", "TL203", "optim: {type: sgd, «momentm»: 0.9}", "did you mean 'momentum'?"),
    ("reference", "TL301", "name: «$vars.nam»", ""),
    ("syntax", "TL106", "metrics: «[»accuracy", ""),
    ("code", "TL307", "«code»: [a.py]", "main.yaml"),
    ("layer", "TL303", "model:\n  layers:\n    - «Linar»: 3", "did you mean 'Linear'?"),
    ("missing base", "TL305", "extends: [«deeper.yaml»]", ""),
]
"""Mistakes in a file that another file extends which the main file extends: name, code, content, hint."""


def place_of_mark(text: str) -> tuple[str, int, int, int]:
    """The text without its marks, and the line, column and end column of the first line marked."""
    before, _, rest = text.partition("«")
    marked, _, after = rest.partition("»")
    line = before.count("\n") + 1
    col = len(before.rpartition("\n")[2]) + 1
    return before + marked + after, line, col, col + len(marked.partition("\n")[0])


def sections(text: str) -> list[str]:
    parts: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            parts[-1] += "\n" + line
        else:
            parts.append(line)
    return parts


TABLE = """\
version: 1
name: table
data:
  type: csv
  train: people.csv
  inputs:
    age: {kind: number, impute: median}
    sex: {kind: category, values: [male, female]}
  target: {column: survived, kind: class, classes: [died, lived]}
  split: {val: 0.2}
  batch_size: 32
model: {layers: [{Linear: 8}, ReLU, {Linear: $data.num_classes}]}
optim: {type: adamw, lr: 1e-3, no_decay: [bias]}
train: {epochs: 3, ema: 0.9}
metrics: [accuracy]
"""
VERSES = """\
version: 1
name: verses
data: {type: text, files: [a.txt], context: 16, batch_size: 4}
model: {layers: [{Embedding: 8}, {Linear: $data.vocab_size}]}
loss: sequence_cross_entropy
optim: {type: adam, lr: 1e-3}
train: {steps: 100}
callbacks: [{sample_text: {prompt: a, every: 50 steps}}]
"""
PAIR = """\
version: 1
name: pair
code: [mine.py]
data: {type: digits, batch_size: 64, transforms: [{to_float: 16}]}
models:
  G: {input: [8], layers: [{Linear: 64}, {Unflatten: [1, [1, 8, 8]]}]}
  D: {layers: [Flatten, {Linear: 1}]}
optim:
  G: {type: adam, lr: 1e-3}
  D: {type: sgd, lr: 0.1}
train: {epochs: 2, step: {type: "mine:Step", scale: 0.1}, reports: [loss_g, loss_d]}
checkpoint: {monitor: train/loss_g, mode: min}
callbacks: [{image_grid: {model: G, n: 4}}]
"""
PUPIL = """\
version: 1
name: pupil
data: {type: digits, batch_size: 64, transforms: [{to_float: 16}]}
teacher:
  weights: runs/teacher/best
  model: {layers: [Flatten, {Linear: 32}, ReLU, {Linear: 10}]}
init: {weights: runs/pupil/best, expect_missing: ["1"], ignore_extra: true}
freeze: {modules: ["1"], unfreeze: {"1": 2 epochs}}
model: {layers: [Flatten, {Linear: 16}, ReLU, {Linear: 10}]}
loss: {type: distill, alpha: 0.5, temperature: 2.0}
optim:
  type: adamw
  lr: 1e-3
  groups: [{match: "1", lr: 1e-4}]
train: {epochs: 5}
"""
PICTURES = """\
version: 1
name: pictures
data:
  type: image_folder
  root: faces
  classes: [happy, sad]
  image: {size: [32, 32], channels: 3, fit: crop}
  split: {val: 0.2, stratify: true}
  cache: ram
  batch_size: 8
  transforms: [{color_jitter: {contrast: 0.2}}, to_float, {normalize: imagenet}]
  mix: {mixup: 0.2, cutmix: 1.0, p: 0.5}
model:
  type: resnet18
  num_classes: $data.num_classes
  stem: small
  init: [{match: "layer.*conv.*", type: kaiming_normal, mode: fan_out}, {match: fc, type: zeros}]
optim: {type: adamw, lr: 1e-3}
train: {epochs: 5}
eval: {batches: 4}
"""
SPEECH = """\
version: 1
name: speech
data:
  type: audio_folder
  root: words
  classes: ["yes", "no"]
  sample_rate: 16000
  clip: 1.0 s
  val: others
  batch_size: 8
  transforms: [{to_float: $data.scale}, {log_mel: {n_fft: 512, hop: 160}}, {spec_augment: {freq: 8}}]
model: {layers: [Flatten, {Linear: $data.num_classes}]}
optim: {type: adamw, lr: 1e-3}
train: {epochs: 5}
checkpoint: {monitor: val/loss}
"""
OWN_CODE = "class Step:\n    def __init__(self, scale: float = 1.0) -> None: ...\n    def __call__(self, context, batch): ...\n"

ELSEWHERE: dict[str, list[Planted]] = {
    TABLE: [
        Planted("kind of data", "TL303", "type: csv", "type: «cvs»", "did you mean 'csv'?"),
        Planted("key of a table", "TL201", "train: people.csv", "«trian»: people.csv", "did you mean 'train'?"),
        Planted("table without a file", "TL204", "data:\n  type: csv\n  train: people.csv", "«data»:\n  type: csv"),
        Planted("key of a column", "TL201", "kind: number, impute", "kind: number, «impte»", "did you mean 'impute'?"),
        Planted("word for a gap", "TL206", "impute: median", "impute: «medain»", "did you mean 'median'?"),
        Planted("kind of a column", "TL206", "kind: number", "kind: «numbr»", "did you mean 'number'?"),
        Planted("values of a category", "TL204", ", values: [male, female]", "", "list them"),
        Planted("key of a target", "TL201", "{column: survived", "{«colum»: survived", "did you mean 'column'?"),
        Planted("kind of a target", "TL206", "kind: class", "kind: «clas»", "did you mean 'class'?"),
        Planted("classes of a target", "TL204", ", classes: [died, lived]", "", "list its values"),
        Planted("one class", "TL202", "[died, lived]", "«[died]»"),
        Planted(
            "text column beside others",
            "TL211",
            "{kind: category, values: [male, female]}",
            "{kind: text}",
            "only input",
        ),
        Planted("fact of a table", "TL301", "$data.num_classes", "«$data.num_class»", "did you mean 'num_classes'?"),
        Planted("columns to leave out", "TL201", "  split: {val", "  «drop»: [name]\n  split: {val", "left out"),
        Planted("tokenizer of a column", "TL201", "impute: median}", "«tokenizer»: word}", "vocab"),
        Planted("average", "TL201", "ema: 0.9", "«emma»: 0.9", "did you mean 'ema'?"),
        Planted("average above one", "TL205", "ema: 0.9", "ema: «1.5»"),
        Planted("exemption", "TL201", "no_decay: [bias]", "«no_deacy»: [bias]", "did you mean 'no_decay'?"),
    ],
    VERSES: [
        Planted("key of a text", "TL201", "context: 16", "«contxt»: 16", "did you mean 'context'?"),
        Planted("fact of a text", "TL301", "$data.vocab_size", "«$data.vocabsize»", "did you mean 'vocab_size'?"),
        Planted(
            "loss of sequences",
            "TL303",
            "sequence_cross_entropy",
            "«sequence_crossentropy»",
            "'sequence_cross_entropy'?",
        ),
        Planted("tokenizer", "TL201", "context: 16", "context: 16, «tokenizer»: char", "alphabet"),
        Planted("task of a text", "TL201", "context: 16", "context: 16, «task»: lm", "character after it"),
        Planted("callback", "TL303", "sample_text", "«sampel_text»", "did you mean 'sample_text'?"),
        Planted("argument of a callback", "TL203", "prompt: a", "«promt»: a", "did you mean 'prompt'?"),
        Planted("duration of a callback", "TL209", "every: 50 steps", "every: «50 stepps»", "500 steps"),
        Planted("section of callbacks", "TL201", "callbacks: [", "«callback»: [", "did you mean 'callbacks'?"),
    ],
    PAIR: [
        Planted("section of models", "TL201", "models:\n", "«modles»:\n", "did you mean 'models'?"),
        Planted(
            "optimizer of no model",
            "TL201",
            "  D: {type: sgd, lr: 0.1}",
            "  «d»: {type: sgd, lr: 0.1}",
            "did you mean 'D'?",
        ),
        Planted("model without an optimizer", "TL204", "  G: {type: adam, lr: 1e-3}\n  D", "  «D»"),
        Planted("class of a step", "TL307", '"mine:Step"', '«"mine:Stp"»', "did you mean 'Step'?"),
        Planted("file of a step", "TL307", '"mine:Step"', '«"mien:Step"»', "did you mean 'mine'?"),
        Planted("step without its file", "TL303", '"mine:Step"', "«Step»", "code"),
        Planted("argument of a step", "TL203", "scale: 0.1", "«scael»: 0.1", "did you mean 'scale'?"),
        Planted("type of a step's argument", "TL210", "scale: 0.1", "scale: «big»"),
        Planted("models without a step", "TL204", ' step: {type: "mine:Step", scale: 0.1},', "", "step:"),
        Planted("report", "TL401", "monitor: train/loss_g", "monitor: «train/loss_h»"),
        Planted("model of a callback", "TL413", "model: G", "model: «g»", "did you mean 'G'?"),
        Planted("clipping beside a step", "TL402", "{epochs: 2,", "{epochs: 2, «clip»: {norm: 1.0},"),
        Planted("input of a model", "TL202", "input: [8]", "input: «eight»"),
        Planted("model and models", "TL211", "models:\n", "model: {layers: [ReLU]}\n«models»:\n", "one of the two"),
    ],
    PUPIL: [
        Planted("section of a teacher", "TL201", "teacher:", "«techer»:", "did you mean 'teacher'?"),
        Planted(
            "key of a teacher",
            "TL201",
            "  weights: runs/teacher",
            "  «wieghts»: runs/teacher",
            "did you mean 'weights'?",
        ),
        Planted("layer of a teacher", "TL303", "{Linear: 32}", "{«Linaer»: 32}", "did you mean 'Linear'?"),
        Planted("weights by another word", "TL201", "init: {weights", "init: {«from»", "did you mean 'weights'?"),
        Planted("key of init", "TL201", "expect_missing", "«expected_missing»", "did you mean 'expect_missing'?"),
        Planted("boolean of init", "TL202", "ignore_extra: true", "ignore_extra: «on»", "write true"),
        Planted("section of freezing", "TL201", "freeze:", "«freze»:", "did you mean 'freeze'?"),
        Planted("what is unfrozen", "TL413", '{"1": 2 epochs}', '{"2": «2 epochs»}'),
        Planted("unfrozen too late", "TL411", '{"1": 2 epochs}', '{"1": «9 epochs»}'),
        Planted("unit of unfreezing", "TL209", '{"1": 2 epochs}', '{"1": «2 epcohs»}', "epochs"),
        Planted("match of a group", "TL201", '{match: "1"', '{«mach»: "1"', "did you mean 'match'?"),
        Planted("argument of a group", "TL203", "lr: 1e-4", "«lrr»: 1e-4", "did you mean 'lr'?"),
        Planted("rate of a group", "TL205", "lr: 1e-4", "lr: «-1»"),
        Planted("pattern of a group", "TL205", 'match: "1"', 'match: «"("»'),
        Planted("argument of distill", "TL203", "temperature: 2.0", "«temprature»: 2.0", "did you mean 'temperature'?"),
        Planted("strictness of init", "TL201", "ignore_extra: true", "«strict»: false", "expect_missing"),
        Planted("hints that are no list", "TL210", "temperature: 2.0", "hints: «layer3»"),
        Planted("share of distill", "TL205", "alpha: 0.5", "alpha: «5»"),
        Planted(
            "loss without its teacher", "TL414", PUPIL[PUPIL.index("teacher:") : PUPIL.index("init:")], "", "teacher"
        ),
        Planted("teacher without its loss", "TL402", "{type: distill, alpha: 0.5, temperature: 2.0}", "cross_entropy"),
    ],
    PICTURES: [
        Planted("kind of folder", "TL303", "type: image_folder", "type: «imagefolder»", "did you mean 'image_folder'?"),
        Planted(
            "folder without a root",
            "TL204",
            "data:\n  type: image_folder\n  root: faces",
            "«data»:\n  type: image_folder",
        ),
        Planted(
            "folder that is not there", "TL204", "root: faces\n  classes: [happy, sad]", "root: «faces»", "list them"
        ),
        Planted("classes by another word", "TL201", "  classes: [", "  «class_names»: [", "did you mean 'classes'?"),
        Planted("section of images", "TL201", "  image: {", "  «images»: {", "did you mean 'image'?"),
        Planted("folder without sizes", "TL204", "  image: {size: [32, 32], channels: 3, fit: crop}", ""),
        Planted("key of images", "TL201", "{size: [32", "{«sizes»: [32", "did you mean 'size'?"),
        Planted("one size", "TL205", "[32, 32]", "«[32]»", "[32, 32]"),
        Planted("no size", "TL205", "[32, 32]", "«[0, 32]»", "[32, 32]"),
        Planted("two channels", "TL206", "channels: 3", "channels: «2»", "one of"),
        Planted("way of fitting", "TL206", "fit: crop", "fit: «crp»", "did you mean 'crop'?"),
        Planted("cache", "TL206", "cache: ram", "cache: «disk»", "one of"),
        Planted("target of none", "TL206", "  cache: ram", "  target: «null»", "did you mean 'none'?"),
        Planted("classes of no target", "TL402", "classes: [happy, sad]", "target: none\n  classes: «[happy, sad]»"),
        Planted(
            "stratified by another word", "TL201", "stratify: true", "«stratified»: true", "did you mean 'stratify'?"
        ),
        Planted("column to stratify by", "TL202", "stratify: true", "stratify: «label»"),
        Planted("stratified by position", "TL402", "stratify: true", "by: position, stratify: «true»"),
        Planted("order of a split", "TL206", "stratify: true", "by: «postion»", "did you mean 'position'?"),
        Planted("folds", "TL201", "stratify: true", "«folds»: 5", "data.split.seed"),
        Planted("key of mixing", "TL201", "{mixup: 0.2", "{«mixpu»: 0.2", "did you mean 'mixup'?"),
        Planted("section of mixing", "TL201", "  mix: {", "  «mixing»: {", "did you mean 'mix'?"),
        Planted("nothing to mix", "TL204", "{mixup: 0.2, cutmix: 1.0, p: 0.5}", "{p: 0.5}", "mixup"),
        Planted("negative mixing", "TL205", "mixup: 0.2", "mixup: «-1»"),
        Planted("share of mixing", "TL205", "p: 0.5", "p: «1.5»"),
        Planted("network by name", "TL303", "type: resnet18", "type: «resnet-18»", "did you mean 'resnet18'?"),
        Planted("argument of a network", "TL203", "  stem: small", "  «stm»: small", "did you mean 'stem'?"),
        Planted("word for a network", "TL210", "stem: small", "stem: «tiny»"),
        Planted(
            "initializer", "TL303", "type: kaiming_normal", "type: «kaiming_nromal»", "did you mean 'kaiming_normal'?"
        ),
        Planted("initializer by another word", "TL303", "type: kaiming_normal", "type: «kaiming»", "'kaiming_normal'?"),
        Planted("argument of an initializer", "TL203", "mode: fan_out", "«mod»: fan_out", "did you mean 'mode'?"),
        Planted("match of an initializer", "TL201", "{match: fc", "{«macth»: fc", "did you mean 'match'?"),
        Planted("pattern of an initializer", "TL205", 'match: "layer.*conv.*"', 'match: «"("»'),
        Planted("jitter", "TL205", "contrast: 0.2", "contrast: «2»"),
        Planted("statistics", "TL210", "normalize: imagenet", "normalize: «imagnet»"),
        Planted("batches of an evaluation", "TL201", "batches: 4", "«max_batches»: 4", "did you mean 'batches'?"),
        Planted("no batches", "TL205", "batches: 4", "batches: «0»"),
        Planted("memory layout", "TL201", "{epochs: 5", "{«channels_last»: true, epochs: 5", "compiler"),
    ],
    SPEECH: [
        Planted("kind of sounds", "TL303", "type: audio_folder", "type: «audiofolder»", "did you mean 'audio_folder'?"),
        Planted(
            "rate by another word",
            "TL201",
            "  sample_rate: 16000",
            "  «sampling_rate»: 16000",
            "did you mean 'sample_rate'?",
        ),
        Planted("sounds without a rate", "TL204", "  sample_rate: 16000\n", ""),
        Planted("clip without a unit", "TL209", "clip: 1.0 s", "clip: «1.0»", "1.0 s"),
        Planted("clip of a wrong unit", "TL209", "clip: 1.0 s", "clip: «1 min»", "250 ms"),
        Planted("features", "TL201", "  val: others", "  val: others\n  «features»: {log_mel: {}}", "data.transforms"),
        Planted(
            "transform by another word",
            "TL303",
            "{log_mel: {n_fft",
            "{«mel_spectrogram»: {n_fft",
            "did you mean 'log_mel'?",
        ),
        Planted("argument of a spectrogram", "TL203", "hop: 160", "«hops»: 160", "did you mean 'hop'?"),
        Planted("no hop", "TL205", "hop: 160", "hop: «0»"),
        Planted("negative stretch", "TL205", "freq: 8", "freq: «-8»"),
        Planted(
            "two kinds of validation", "TL211", "  val: others", "  split: {val: 0.1}\n  val: «others»", "keep one"
        ),
        Planted("validation that is not there", "TL401", "  val: others\n", "", "data.split.val"),
        Planted("fact of sounds", "TL301", "$data.scale", "«$data.scal»", "did you mean 'scale'?"),
    ],
}
"""Mistakes in the sections that `VALID` has not, by the configuration that they are planted into."""
