"""Reading the authors' checkpoints."""
from __future__ import annotations
def rename(): 
    r = {'inc':'encoder.stem'}
    for i in range(4):
        r[f'down{i+1}.nConvs']=f'encoder.down.{i}'
        r[f'bottleneck.gcn{i+1}']=f'attention.local_attention.{i}'
        r[f'bottleneck.mlp{i+1}']=f'attention.mlp.{i}'
        r[f'bottleneck.conv{i+1}']=f'attention.out.{i}'
        r[f'up{i+1}.nConvs']=f'decoder.{i}.blocks'
        for a,b in {'dwconv.0':'norm','dwconv.1':'up_proj','dwconv.3':'up_dwconv','conv.0':'skip_dwconv','proj':'proj','psi.0':'psi_conv','psi.1':'psi_norm'}.items():
            r[f'up{i+1}.AG.{a}']=f'decoder.{i}.{b}'
        r[f'outc{4-i}']=f'heads.{i}'
    for i in range(3): r[f'side_conv{i+2}']=f'encoder.side.{i}'
    r['side_conv5']='encoder.side_bottom'
    r['bottleneck.bn']='attention.global_attention.norm'
    r['bottleneck.conv']='attention.global_attention.conv'
    r['bottleneck.qconv']='attention.global_attention.qconv'
    return r
