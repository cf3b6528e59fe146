"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.recurrent import GRU, LSTM, RNN, RNNBase
from torchlite.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]
