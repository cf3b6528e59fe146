"""ResNet-18 classifies 32×32 images: SGD with momentum, cosine schedule. Layers and names are torchvision's."""

BATCH, CLASSES, STEPS = 16, 10, 200


def make(torch):
    """The model, with the modules of ``torch``: PyTorch, or torchlite under that name."""
    nn = torch.nn

    def convolution(inputs, outputs, kernel_size, stride):
        return nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.bn1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = convolution(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1 or inputs != outputs:
                self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

        def forward(self, x):
            shortcut = x if self.downsample is None else self.downsample(x)
            out = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(out)) + shortcut)

    class ResNet18(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = convolution(3, 64, 7, 2), nn.BatchNorm2d(64)
            self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
            self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
            self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
            self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
            self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
            self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, CLASSES)
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                elif isinstance(module, Block):
                    nn.init.zeros_(module.bn2.weight)  # every block starts as the identity

        def forward(self, x):  # (N, 3, 32, 32)
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, 8, 8)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, 512, 1, 1)
            return self.fc(torch.flatten(self.avgpool(x), 1))

    return ResNet18()


def batches(rng):
    """Images (a prototype of each class, with noise) and their classes, without end."""
    prototypes = rng.normal(size=(CLASSES, 3, 32, 32))
    while True:
        labels = rng.integers(CLASSES, size=BATCH)
        yield prototypes[labels] + rng.normal(size=(BATCH, 3, 32, 32)), labels


def train(torch, model, batches):
    """Train on every batch, and yield its loss."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    for images, labels in batches:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item()
