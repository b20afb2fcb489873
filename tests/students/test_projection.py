import torch

from abbe.students.response import Projection


def test_a_map_becomes_a_unit_vector_of_its_mean():
    torch.manual_seed(0)
    projection, features = Projection(6, 4), torch.randn(3, 6, 5, 7)
    vectors = projection(features)
    assert vectors.shape == (3, 4)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(projection(features.flip(-1)), vectors)  # places do not matter
    vectors[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in projection.parameters())
