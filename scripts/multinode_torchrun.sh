#!/bin/bash
# A fit on several nodes with torchrun. Call it on every node, with that node's NODE_RANK:
#
#   NNODES=4 NODE_RANK=0 MASTER_ADDR=node0 scripts/multinode_torchrun.sh configs/rin/imagenet64.yaml --data.root /data/imagenet
#
# The recipe comes first, options of the command line follow. MASTER_ADDR is the node of rank 0, MASTER_PORT a free port
# there (29500), GPUS those of each node (8). A process that ends with an error ends all; the same call then goes on.
set -euo pipefail
recipe=$1
shift
torchrun --nnodes "$NNODES" --node_rank "$NODE_RANK" --nproc_per_node "${GPUS:-8}" \
  --master_addr "$MASTER_ADDR" --master_port "${MASTER_PORT:-29500}" \
  -m lightning_binding fit --config "$recipe" --config configs/trainer/multinode.yaml \
  --trainer.num_nodes "$NNODES" --trainer.devices "${GPUS:-8}" --resume auto "$@"
