"""Records SAR: reliable, sharpness-aware entropy minimisation of LayerNorms.

Niu et al., "Towards Stable Test-Time Adaptation in Dynamic Wild World", ICLR 2023: only views of
entropy below 0.4 ln C count (equation 2, "reliable"); the weights are first moved to where the
loss is worst, by rho g / ||g|| (equation 4, "sharpness-aware"), and the gradient of there is
applied to the unmoved weights; the model starts anew when the moving average of the second loss
falls below a threshold ("model recovery"). As in the published `sar.py`, the second loss is the
mean over those of the first pass's reliable views that are reliable again. After a recovery the
moving average is empty: the published code means that but writes the old one back
(mr-eggplant/SAR, issue 4).

Adapted here: weight and bias of ln_1 and ln_2 of the image tower's first 9 blocks, by PyTorch's
SGD with momentum.
"""

import math

import torch
import torch.nn.functional as F

import small

BLOCKS, RHO, MOMENTUM = 9, 0.05, 0.9
MARGIN = 0.4 * math.log(small.CLASSES)


def number(x):
    return torch.tensor([math.nan if x is None else x.item()])


class Sar:
    def __init__(self, learning_rate, threshold):
        self.model = small.model()
        self.texts = small.zeroshot(self.model)
        self.parameters = [
            getattr(getattr(block, norm), part).requires_grad_()
            for block in self.model.visual.transformer.resblocks[:BLOCKS]
            for norm in ("ln_1", "ln_2")
            for part in ("weight", "bias")
        ]
        self.start = [p.detach().clone() for p in self.parameters]
        self.learning_rate, self.threshold = learning_rate, threshold
        self.recover()

    def recover(self):
        with torch.no_grad():
            for p, start in zip(self.parameters, self.start):
                p.copy_(start)
        self.average = None
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=self.learning_rate, momentum=MOMENTUM)

    def stacked(self, tensors):
        """[block, ln_1 | ln_2, weight | bias, width]"""
        return torch.stack([t.detach() for t in tensors]).view(BLOCKS, 2, 2, -1)

    def logits(self, views):
        images = F.normalize(self.model.encode_image(views), dim=1)
        return self.model.logit_scale.exp() * images @ self.texts.t()

    def gradient(self, views, among):
        """Logits; which of the views `among` are reliable; their mean entropy, None if there are
        none; its gradient."""
        logits = self.logits(views)
        entropies = small.entropy(logits)
        reliable = among[entropies.detach()[among] < MARGIN]
        self.gaps += (entropies.detach()[among] - MARGIN).abs().tolist()
        if len(reliable) == 0:
            return logits, reliable, None, [torch.zeros_like(p) for p in self.parameters]
        loss = entropies[reliable].mean()
        return logits, reliable, loss, torch.autograd.grad(loss, self.parameters)

    def update(self, views):
        """One update for a batch of views; what is recorded of it."""
        self.gaps = []
        logits, reliable, loss, first = self.gradient(views, torch.arange(len(views)))
        norm = torch.stack([g.norm() for g in first]).norm()
        here = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            for p, g in zip(self.parameters, first):
                p += RHO * g / (norm + 1e-12)
        _, again, second_loss, second = self.gradient(views, reliable)
        with torch.no_grad():
            for p, back in zip(self.parameters, here):
                p.copy_(back)
        for p, g in zip(self.parameters, second):
            p.grad = g
        self.optimizer.step()

        recovered = False
        if second_loss is not None:
            value = second_loss.detach()
            self.average = value if self.average is None else 0.9 * self.average + 0.1 * value
        if self.average is not None:
            recovered = bool(self.average < self.threshold)
        if recovered:
            self.recover()
        return {
            "logits": logits,
            "reliable": reliable.int(),
            "reliable_again": again.int(),
            "loss": number(loss),
            "second_loss": number(second_loss),
            "average": number(self.average),
            "recovered": torch.tensor([recovered], dtype=torch.int32),
            "gradient": self.stacked(first),
            "second_gradient": self.stacked(second),
            "after": self.stacked(self.parameters),
        }


def run(record, name, batches, learning_rate, threshold):
    sar = Sar(learning_rate, threshold)
    record[f"{name}.learning_rate"] = torch.tensor([learning_rate])
    record[f"{name}.threshold"] = torch.tensor([threshold])
    for k, views in enumerate(batches):
        plain = Sar(learning_rate, threshold).logits(views)
        update = sar.update(views)
        moved = (update["logits"] - plain).abs().max()
        print(f"{name} update{k}: {len(update['reliable'])} of {len(views)} views reliable, "
              f"{len(update['reliable_again'])} again, losses {update['loss'][0]:.4f} and "
              f"{update['second_loss'][0]:.4f}, average {update['average'][0]:.4f}, recovered "
              f"{update['recovered'][0]}, logits moved by {moved:.4f}, entropies at least "
              f"{min(sar.gaps):.1e} from the margin")
        for part, tensor in update.items():
            if name == "views" or "gradient" not in part:
                record[f"{name}.update{k}.{part}"] = tensor


def main():
    images = small.images()
    record = {}
    run(record, "views", images[:5], 0.001, 0.2)
    clean = torch.stack([views[0] for views in images])
    run(record, "singles", [clean[:4], clean[4:]] * 2, 0.01, 0.2)
    # Below the first four averages of this order and above the fifth.
    run(record, "recovery", images[:5] + images[:2], 0.001, 0.57)
    # The second view is reliable in the first pass only, the third never.
    lone = [(0, 0), (0, 5), (1, 1), (2, 0)]
    record["lone.views"] = torch.tensor(lone, dtype=torch.int32)
    run(record, "lone", [images[i][v : v + 1] for i, v in lone], 0.01, 0.2)
    small.save("sar", record, may_be_nan=["loss", "average"])


if __name__ == "__main__":
    main()
