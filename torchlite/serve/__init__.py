"""A trained model that answers over HTTP, by the Open Inference Protocol (KServe v2).

In the order of a request: `server` listens, `patience` gives up on connections that wait for nothing, `app` knows the paths and
reads the body, `worker` lets one request after the other to the model, `strict_json` and `requests` read what is asked, checked
against the `tensors` that the model takes, and `predicting` or `writing` answers.
"""
